
# The agents of the configuration that the line names, or that would be used.
_exeat_agents() {
    local config=${EXEAT_CONFIG:-${XDG_CONFIG_HOME:-$HOME/.config}/exeat}
    local -a agents typed
    # Of its words a subcommand sees only those behind it.
    typed=(${(z)LBUFFER})
    local at=${typed[(I)--config]}
    if (( at )); then
        config=${${(Q)typed[at + 1]}/#\~\//$HOME/}
    fi
    agents=($config/agents/*.toml(N:t:r))
    # Whatever else lies there is no agent.
    agents=(${(M)agents:#[a-z0-9]([a-z0-9._-]#)})
    compadd -a agents
}
