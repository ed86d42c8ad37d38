#compdef authferry
# Completion of authferry for zsh: source <(authferry completion zsh)
_authferry() {
	local -a lines values
	local line
	lines=("${(@f)$("$words[1]" complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ $lines[1] == files ]]; then
		_files
		return
	fi
	for line in "${(@)lines[2,-1]}"; do
		values+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
	done
	_describe -V authferry values
}
compdef _authferry authferry
