"""`harness completion`: a script that makes a shell complete commands, flags, and the names of what there is."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_HARNESS_COMPLETE"
WHERE = {
    "bash": 'put this into ~/.bashrc:          eval "$(harness completion bash)"',
    "zsh": 'put this into ~/.zshrc:           eval "$(harness completion zsh)"',
    "fish": "put this into ~/.config/fish/config.fish:  harness completion fish | source",
}
ALSO = {
    "bash": "complete -o nosort -F _harness_completion ./run\n",
    "zsh": "compdef _harness_completion ./run\n",
    "fish": "",
}
"""`./run X` is `harness X`, and is completed alike, where a shell allows a path."""


@click.command(name="completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> int:
    """Print a script for SHELL that completes commands, flags, workloads, nemeses, defects and saved runs.

    \b
    bash:  eval "$(harness completion bash)"       in ~/.bashrc
    zsh:   eval "$(harness completion zsh)"        in ~/.zshrc
    fish:  harness completion fish | source        in ~/.config/fish/config.fish
    """
    from harness.cli.app import app

    script_class = get_completion_class(shell)
    assert script_class is not None, f"click knows no {shell}"
    script = script_class(app, {}, "harness", VARIABLE)
    click.echo(f"# {WHERE[shell]}")
    # Not `source`, which asks the shell for its version: a script can be printed where the shell is not installed.
    source = script.source_template % script.source_vars()
    # Click's script for fish would cut a list of nemeses (`kill,partition`) at its comma.
    click.echo(source.replace('string split ","', 'string split --max 1 ","') + ALSO[shell], nl=False)
    return 0
