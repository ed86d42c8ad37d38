# Completion of authferry for PowerShell: authferry completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName authferry -ScriptBlock {
	param($wordToComplete, $commandAst, $cursorPosition)
	$words = @($commandAst.CommandElements | Select-Object -Skip 1 |
		Where-Object { $_.Extent.StartOffset -lt $cursorPosition } |
		ForEach-Object { $_.Extent.Text.Trim('"', "'") })
	if (-not $wordToComplete) {
		# Before 7.3 an empty argument has to be quoted twice to arrive.
		$words += if ($PSVersionTable.PSVersion -lt [version]'7.3') { '""' } else { '' }
	}
	$lines = @(& $commandAst.CommandElements[0].Extent.Text complete -- @words 2>$null)
	if ($lines[0] -eq 'files') { return }
	$lines | Select-Object -Skip 1 | ForEach-Object {
		$value, $help = $_ -split "`t", 2
		# PowerShell takes four more characters for a single quote.
		$text = if ($value -cmatch '^[A-Za-z0-9._/@=-]+$') { $value } else { "'" + ($value -replace "['\u2018-\u201B]", '$0$0') + "'" }
		[System.Management.Automation.CompletionResult]::new($text, $value, 'ParameterValue', $(if ($help) { $help } else { $value }))
	}
}
