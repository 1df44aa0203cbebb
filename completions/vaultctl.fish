# vaultctl: completion for fish
function _vaultctl_completion
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    set -l words $before $word
    for line in (COMP_WORDS=(string join \n -- $words | string collect) COMP_CWORD=(count $before) \
            _VAULTCTL_COMPLETE=complete_fish vaultctl 2>/dev/null)
        if test "$line" = ":files"
            set -l option (string match --regex -- '^--[^=]*=' $word)
            for path in (__fish_complete_path (string replace -- "$option" "" $word))
                echo "$option$path"
            end
        else
            echo $line
        end
    end
end

complete --no-files --keep-order --command vaultctl --arguments "(_vaultctl_completion)"
