use clap::{CommandFactory as _, Parser as _};

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn datastores() {
    for (text, want) in [
        ("file:/etc/x", Ok("file:/etc/x")),
        ("file:///etc/x", Ok("file:/etc/x")),
        ("file:./x", Ok("file:./x")),
        ("file:", Err("the directory is missing after \"file:\"")),
        ("/etc/x", Err("\"/etc/x\" is not a datastore, write file:DIR")),
        ("etcd:http://x", Err("\"etcd:http://x\" is not a datastore, write file:DIR")),
    ] {
        let got = text.parse::<Datastore>().map(|d| d.to_string()).map_err(|e| e.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), want, "{text}");
    }
}

#[test]
fn a_name_that_no_node_has_is_wrong_usage() {
    for (name, is_one) in
        [("node-1", true), ("ip-10-0-0-1.example_com", true), ("", true), ("bad node!", false), ("a/b", false)]
    {
        let parsed = Cli::try_parse_from(["caracal", "calc", "--datastore", "file:x", "--node", name]);
        assert_eq!(parsed.is_ok(), is_one, "{name:?}");
    }
}

/// What a person reads: a change here is a change of the interface.
#[test]
fn help() {
    let mut text = String::new();
    let mut root = Cli::command().term_width(100);
    root.build();
    let names: Vec<String> = root.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    text.push_str(&root.render_long_help().to_string());
    for name in names {
        let command = root.find_subcommand_mut(&name).expect("the name is from the list");
        text.push_str(&format!("\n---- {name}\n{}", command.render_long_help()));
    }
    insta::assert_snapshot!(text);
}
