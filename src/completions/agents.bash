# The agents of the configuration that the line names, or that would be used.
_exeat_agents() {
    local i file name config="${EXEAT_CONFIG:-${XDG_CONFIG_HOME:-$HOME/.config}/exeat}"
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == --config ]]; then
            config=${COMP_WORDS[i + 1]}
            [[ $config != = ]] || config=${COMP_WORDS[i + 2]}
        fi
    done
    config=${config/#\~\//$HOME/}
    for file in "$config"/agents/*.toml; do
        name=${file##*/} name=${name%.toml}
        # Whatever else lies there is no agent, and bash would expand it.
        [[ $name =~ ^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$ ]] && printf '%s\n' "$name"
    done
}

