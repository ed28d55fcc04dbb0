package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: ${enum}."`
}

// Help implements kong.HelpProvider.
func (completionCommand) Help() string {
	return `Prints what makes a shell complete commands, flags and their values.

Examples:
  source <(fescue completion bash)                                       in ~/.bashrc
  fescue completion zsh > "${fpath[1]}/_fescue"                          once
  fescue completion fish > ~/.config/fish/completions/fescue.fish        once`
}

// Run prints the script.
func (c *completionCommand) Run(t *terminal) error {
	_, err := io.WriteString(t.stdout, completionScripts[c.Shell])
	return err
}

// completionWord, as the first argument, has the program print how the last of the
// others may go on: a line for each word, with a tab and what it is. Where there are
// none, shells complete names of files.
const completionWord = "__complete"

var completionScripts = map[string]string{
	"bash": `_fescue() {
	local IFS=$'\n'
	COMPREPLY=($(fescue __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1))
}
complete -o bashdefault -o default -F _fescue fescue
`,
	"zsh": `#compdef fescue
_fescue() {
	local line
	local -a found
	for line in "${(@f)$(fescue __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
		[[ -z $line ]] || found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
	done
	if (( $#found )); then
		_describe fescue found
	else
		_files
	fi
}
if [[ ${funcstack[1]} == _fescue ]]; then
	_fescue "$@"
else
	compdef _fescue fescue
fi
`,
	"fish": `function __fescue_complete
	set -l words (commandline -opc) (commandline -ct)
	fescue __complete $words[2..-1] 2>/dev/null
end
complete -c fescue -n 'count (__fescue_complete) >/dev/null' -f -a '(__fescue_complete)'
`,
}

// complete prints how the last word may go on.
func complete(model *kong.Application, words []string, out io.Writer) {
	if len(words) == 0 {
		return
	}
	for _, c := range candidates(model.Node, words[:len(words)-1], words[len(words)-1]) {
		what, _, _ := strings.Cut(c.what, "\n")
		fmt.Fprintf(out, "%s\t%s\n", c.word, what)
	}
}

// candidate is a word that may stand somewhere, and what it is.
type candidate struct{ word, what string }

// candidates are how a word may go on behind others, from the model that parses the
// command line. Bash has made three words of --flag=value.
func candidates(node *kong.Node, before []string, word string) (list []candidate) {
	var open *kong.Flag // wants a value
	for _, w := range before {
		switch {
		case open != nil && w == "=":
		case open != nil:
			open = nil
		case strings.HasPrefix(w, "-"):
			open = wanting(node, w)
		default:
			if child := childOf(node, w); child != nil {
				node = child
			}
		}
	}
	prefix := ""
	if name, value, ok := strings.Cut(word, "="); ok && strings.HasPrefix(name, "--") && open == nil {
		open, prefix, word = wanting(node, name), name+"=", value
	} else if word == "=" {
		word = ""
	}
	switch {
	case open != nil:
		list = valuesOf(open.Value)
	case strings.HasPrefix(word, "-"):
		for _, f := range flagsOf(node) {
			list = append(list, candidate{"--" + f.Name, f.Help})
		}
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				list = append(list, candidate{child.Name, child.Help})
			}
		}
		for _, p := range node.Positional {
			list = append(list, valuesOf(p)...)
		}
	}
	list = slices.DeleteFunc(list, func(c candidate) bool { return !strings.HasPrefix(c.word, word) })
	for i := range list {
		list[i].word = prefix + list[i].word
	}
	return list
}

// wanting is the flag that a word names, if it wants a value and the word has none.
func wanting(node *kong.Node, word string) *kong.Flag {
	for _, f := range flagsOf(node) {
		if (word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short)) && !f.IsBool() && !f.IsCounter() {
			return f
		}
	}
	return nil
}

func childOf(node *kong.Node, word string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == word || slices.Contains(child.Aliases, word) {
			return child
		}
	}
	return nil
}

// flagsOf are the flags of a command and of those above it.
func flagsOf(node *kong.Node) []*kong.Flag { return slices.Concat(node.AllFlags(true)...) }

// valuesOf are what a value may be, if it is one of a few.
func valuesOf(v *kong.Value) (list []candidate) {
	if v.Enum == "" {
		return nil
	}
	for _, word := range v.EnumSlice() {
		if word != "" {
			list = append(list, candidate{word, v.Name})
		}
	}
	return list
}
