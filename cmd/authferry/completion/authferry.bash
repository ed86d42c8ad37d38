# Completion of authferry for bash: source <(authferry completion bash)
_authferry() {
	local word=${COMP_WORDS[COMP_CWORD]} quote= kind= value
	[[ $word == [\"\']* ]] && quote=${word:0:1} word=${word:1}
	COMPREPLY=()
	while IFS=$'\t' read -r value _; do
		if [[ -z $kind ]]; then
			kind=$value
			[[ $kind == files ]] && compopt -o default
		elif [[ ! $quote ]]; then
			COMPREPLY+=("$(printf %q "$value")")
		elif [[ $quote == \' ]]; then
			COMPREPLY+=("${value//\'/\'\\\'\'}")
		elif [[ $value != *[\"\$\`\\!]* ]]; then # what "" leaves its meaning to is not offered there
			COMPREPLY+=("$value")
		fi
	done < <("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD-1}" "${word//\\/}" 2>/dev/null)
}
complete -F _authferry authferry
