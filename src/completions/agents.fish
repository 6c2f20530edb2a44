# The agents of the configuration that the line names, or that would be used.
function __exeat_agents
    set -l config "$HOME/.config/exeat"
    set -q XDG_CONFIG_HOME; and set config "$XDG_CONFIG_HOME/exeat"
    set -q EXEAT_CONFIG; and set config "$EXEAT_CONFIG"
    set -l words (commandline -opc)
    set -l at (contains -i -- --config $words)
    and set config (string replace -r '^~/' "$HOME/" -- $words[(math $at + 1)])
    for file in "$config"/agents/*.toml
        # Whatever else lies there is no agent.
        string match -r '^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$' (string replace -r '.*/(.*)\.toml$' '$1' -- $file)
    end
end

