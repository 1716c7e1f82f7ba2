"""``matapalo restart --local``: fresh worker processes, one after the other, without losing a request."""

from __future__ import annotations

import uuid

import click

from console.commands.options import json_option
from console.commands.output import print_json
from console.commands.supervisor import ask, state_dir_of
from shadow import link


@click.command()
@click.option("--local", is_flag=True, help="Talk to the supervisor on this machine; required, there is no other way.")
@click.option("--state-dir", type=click.Path(), help="The server's state_dir.")
@click.option("-c", "--config", "config_path", type=click.Path(), help="The file that names state_dir.")
@json_option
def restart(local: bool, state_dir: str | None, config_path: str | None, as_json: bool) -> int:
    """Replace every worker by a fresh process, one after the other, without losing a request.

    A worker leaves when its successor serves and its own clients have heard `Connection: close`; a client that
    stays silent is hung up on after `limits.drain`. New workers run the code that is installed now.

    \b
    matapalo restart --local -c /etc/matapalo/matapalo.yaml
    """
    if not local:
        raise click.UsageError("workers are restarted on their own machine; add --local")
    request = link.RestartWorkers(request=str(uuid.uuid4()))
    replaced: list[dict[str, int]] = []
    reason = ""
    for step in ask(state_dir_of(state_dir, config_path), request, link.RestartStep):
        if step.done:
            reason = step.reason
            break
        if step.pid:
            replaced.append({"slot": step.slot, "pid": step.pid, "former": step.former})
        if not as_json:
            _say(step)
    if as_json:
        print_json({"restarted": not reason, "workers": replaced, "reason": reason})
    elif reason:
        raise click.ClickException(reason)
    else:
        click.echo(f"Every worker was replaced ({len(replaced)}).")
    return int(bool(reason))


def _say(step: link.RestartStep) -> None:
    if step.pid:
        click.echo(f"Worker {step.slot}: {step.pid} serves; {step.former or 'nobody'} finishes and ends.")
    else:
        click.echo(f"Worker {step.slot}: starting a successor of {step.former or 'nobody'}.", err=True)
