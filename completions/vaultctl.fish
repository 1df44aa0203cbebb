# vaultctl: completion for fish
function _vaultctl_completion
    set -l before (commandline -opc)
    set -l words $before (commandline -ct)
    for line in (COMP_WORDS=(string join \n -- $words | string collect) COMP_CWORD=(count $before) \
            _VAULTCTL_COMPLETE=complete_fish vaultctl 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end

complete --no-files --command vaultctl --arguments "(_vaultctl_completion)"
