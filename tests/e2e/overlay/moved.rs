//! A command that may write above a directory under a layer has no other directory changed in its place.

use std::fs;

use crate::harness::Exeat;

#[test]
fn nothing_is_shown_or_applied_where_a_link_leads_to_the_tree_by_now() {
    let exeat = Exeat::new().sandbox("overlay = [\"tools/bin\"]");
    let (tools, outside) = (exeat.work().join("tools"), exeat.path("outside"));
    for directory in [&tools, &outside] {
        fs::create_dir_all(directory.join("bin")).unwrap();
    }
    // What is above the layer is the command's to write.
    exeat.sh(&format!("echo x > tools/bin/new && mv tools moved && ln -s {outside:?} tools")).ok();
    let worker = exeat.log().start().worker.clone();
    for options in [&[][..], &["--patch"], &["--apply"]] {
        let run = exeat.exeat(&[&["diff", &worker], options].concat()).finish().ended_with(125);
        assert!(run.stderr.contains("a link is on the way to it") && run.stderr.contains("tools/bin"), "{run:#?}");
    }
    assert!(!outside.join("bin/new").exists());
    fs::remove_file(&tools).unwrap();
    fs::rename(exeat.work().join("moved"), &tools).unwrap();
    exeat.exeat(&["diff", &worker, "--apply"]).finish().ok();
    assert_eq!(fs::read_to_string(tools.join("bin/new")).unwrap(), "x\n");
}

/// `tools/bin` under a layer and `vendor/bin`, both below what the command may write.
fn beside_what_is_only_read() -> (Exeat, String) {
    let exeat = Exeat::new().sandbox("overlay = [\"tools/bin\"]\nread = [\"vendor/bin\"]");
    for directory in ["tools/bin", "vendor/bin"] {
        fs::create_dir_all(exeat.work().join(directory)).unwrap();
        fs::write(exeat.work().join(directory).join("kept"), directory).unwrap();
    }
    exeat.sh("echo x > tools/bin/new && mv tools moved && mv vendor tools").ok();
    let worker = exeat.log().start().worker.clone();
    (exeat, worker)
}

#[test]
fn nothing_is_shown_or_applied_where_another_directory_is_called_as_the_tree_was() {
    let (exeat, worker) = beside_what_is_only_read();
    let (tools, moved, vendor) = (exeat.work().join("tools"), exeat.work().join("moved"), exeat.work().join("vendor"));
    for options in [&[][..], &["--patch"], &["--apply"]] {
        let run = exeat.exeat(&[&["diff", &worker], options].concat()).finish().ended_with(125);
        assert!(run.stderr.contains("it is another directory than when the worker began"), "{run:#?}");
    }
    assert!(fs::read_to_string(tools.join("bin/kept")).unwrap() == "vendor/bin" && !tools.join("bin/new").exists());
    fs::rename(&tools, &vendor).unwrap();
    fs::rename(&moved, &tools).unwrap();
    exeat.exeat(&["diff", &worker, "--apply"]).finish().ok();
    assert!(tools.join("bin/new").exists() && !vendor.join("bin/new").exists());
}

/// As an exeat leaves it that did not write down which directory it was.
#[test]
fn an_older_layer_is_shown_and_exported_and_not_applied() {
    let exeat = Exeat::new().sandbox("overlay = [\"tools\"]");
    let tools = exeat.work().join("tools");
    fs::create_dir(&tools).unwrap();
    exeat.sh("echo x > tools/new").ok();
    let worker = exeat.log().start().worker.clone();
    fs::remove_file(exeat.state().join("workers").join(&worker).join("overlay/0/was")).unwrap();
    assert_eq!(exeat.exeat(&["diff", &worker]).finish().ok().stdout, "A new\n");
    let refused = exeat.exeat(&["diff", &worker, "--apply"]).finish().ended_with(125);
    assert!(refused.stderr.contains("was not written down") && refused.stderr.contains("--export DIR"), "{refused:#?}");
    assert!(!tools.join("new").exists());
    let kept = exeat.path("kept");
    exeat.exeat(&["diff", &worker, "--export", kept.to_str().unwrap()]).finish().ok();
    assert_eq!(fs::read_to_string(kept.join("0/new")).unwrap(), "x\n");
}
