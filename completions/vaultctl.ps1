# vaultctl: completion for PowerShell
Register-ArgumentCompleter -Native -CommandName vaultctl -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.StartOffset -lt $cursorPosition } | ForEach-Object { "$_" })
    if ($wordToComplete -eq '') { $words += '' }
    $before = $env:COMP_WORDS, $env:COMP_CWORD, $env:_VAULTCTL_COMPLETE
    try {
        $env:COMP_WORDS = $words -join "`n"
        $env:COMP_CWORD = $words.Count - 1
        $env:_VAULTCTL_COMPLETE = 'complete_powershell'
        $lines = @(vaultctl 2>$null)
    } finally {
        $env:COMP_WORDS, $env:COMP_CWORD, $env:_VAULTCTL_COMPLETE = $before
    }
    foreach ($line in $lines) {
        if ($line -eq ':files') { return }  # PowerShell's own completion has paths
        $word, $help = $line -split "`t", 2
        if (-not $help) { $help = $word }
        [System.Management.Automation.CompletionResult]::new($word, $word, 'ParameterValue', $help)
    }
}
