//! What README.md shows of files can be copied into one, and is taken as it stands.

use std::fs;

use crate::harness::Exeat;

const README: &str = include_str!("../../README.md");

/// Each block of TOML in it, with its line.
fn blocks() -> Vec<(usize, &'static str)> {
    let mut blocks = Vec::new();
    let mut rest = README;
    while let Some((_, behind)) = rest.split_once("```toml\n") {
        let (block, behind) = behind.split_once("```").unwrap();
        let begun = README.len() - behind.len() - block.len() - 3;
        blocks.push((README[..begun].lines().count(), block));
        rest = behind;
    }
    blocks
}

/// Which file it is meant for.
fn file(block: &str) -> &'static str {
    let has = |word: &str| block.lines().any(|line| line.starts_with(word));
    match () {
        () if has("[[ship]]") || has("[segment]") => "log.toml",
        () if has("[identity]") => "broker.toml",
        () if has("issuer") => "credentials.toml",
        () => "agents/release-bot.toml",
    }
}

#[test]
fn every_block_of_the_readme_passes_check_as_it_stands() {
    let blocks = blocks();
    assert!(blocks.len() >= 14, "{blocks:?}");
    let of = |name: &str| blocks.iter().find(|(_, block)| block.starts_with(name)).unwrap().1;
    let (policy, credentials) = (of("# agents/release-bot.toml"), of("# credentials.toml"));
    for (line, block) in &blocks {
        let exeat = Exeat::new();
        let write = |name: &str, text: &str| fs::write(exeat.config(name), text).unwrap();
        // What a block leans on is in the blocks that come first.
        if file(block) == "agents/release-bot.toml" && block.contains("credential") {
            write("credentials.toml", credentials);
        }
        let text = if block.contains("[[expect]]") { format!("{policy}{block}") } else { (*block).to_owned() };
        if file(block) != "agents/release-bot.toml" {
            write("agents/release-bot.toml", "");
        }
        write(file(block), &text);
        let run = exeat.exeat(&["check", "--files-only"]).finish();
        assert!(run.code == Some(0) && run.stdout.contains("no mistakes"), "README.md:{line}: {run:#?}");
        let held = !block.contains("[[expect]]") || run.stdout.contains("2 expectations hold");
        assert!(held, "README.md:{line}: {run:#?}");
    }
}
