# Completion of authferry for fish: authferry completion fish | source
function __authferry_complete
	set -l words (commandline -opc) (commandline -ct)
	set -l lines (authferry complete -- $words[2..-1] 2>/dev/null)
	if test "$lines[1]" = files
		__fish_complete_path (commandline -ct)
	else
		printf '%s\n' $lines[2..-1]
	end
end
complete -c authferry -f -a '(__authferry_complete)'
