package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
)

// Each shell asks the command itself what may come next: the words so far, and behind them --generate-bash-completion.
// Where nothing of it fits, files do.
var completions = map[string]string{
	"bash": `_sluice() {
	local word="${COMP_WORDS[COMP_CWORD]}" words=("${COMP_WORDS[@]:0:COMP_CWORD}")
	[[ $word == -* ]] && words+=("$word")
	mapfile -t COMPREPLY < <(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$word")
}
complete -o default -F _sluice sluice
`,
	"zsh": `#compdef sluice
_sluice() {
	local -a before=("${(@)words[1,CURRENT-1]}") next
	[[ $words[CURRENT] == -* ]] && before+=("$words[CURRENT]")
	next=("${(@f)$("${(@)before}" --generate-bash-completion 2>/dev/null)}")
	[[ -n $next ]] && compadd -- "${(@)next%%:*}" || _files
}
compdef _sluice sluice
`,
}

var completionCommand = &cli.Command{
	Name:      "completion",
	Usage:     "print what makes the shell complete commands and flags",
	ArgsUsage: "bash|zsh",
	Description: "For bash: source <(sluice completion bash)\n" +
		"For zsh:  source <(sluice completion zsh)",
	Action: action(func(c *cli.Context, args []string) error {
		if len(args) == 0 {
			return usageError(fmt.Errorf("which SHELL? bash or zsh; `%s --help` tells the usage", c.Command.HelpName))
		}
		script, ok := completions[args[0]]
		if !ok {
			return usageError(fmt.Errorf("no completion for %q: must be bash or zsh", args[0]))
		}
		_, err := io.WriteString(c.App.Writer, script)
		return err
	}, "SHELL"),
}
