//! Tells what this machine can do for a sandbox, and that a process can be forked.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example may print")]

fn main() -> std::io::Result<()> {
    for capability in sandbox::probe() {
        println!("{}: {}", capability.name, if capability.present { "yes" } else { "no" });
        println!("  {}", capability.why);
        if let Some(remedy) = capability.remedy {
            println!("  hint: {remedy}");
        }
    }
    println!("forked: {}", sandbox::fork_process(|| 7)?.wait()?);
    Ok(())
}
