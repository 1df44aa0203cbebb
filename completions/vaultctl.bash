# vaultctl: completion for bash
_vaultctl_completion() {
    local IFS=$'\n' line
    COMPREPLY=()
    for line in $(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _VAULTCTL_COMPLETE=complete_bash \
            "$1" 2>/dev/null); do
        if [[ $line == :files ]]; then
            compopt -o default
        else
            COMPREPLY+=("$line")
        fi
    done
}

complete -F _vaultctl_completion vaultctl
