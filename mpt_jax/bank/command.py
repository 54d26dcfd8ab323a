"""`t5x bank`: its arguments, and the call; imports nothing heavy until it is called."""

import argparse

FLAGS = ()
_BANK = "a prompt file, or a run folder"
# action -> (help, help of BANK, the further arguments: (metavar, help), or None)
_ACTIONS = {
    "add": (
        "add the tasks of finished runs",
        f"{_BANK}, or where a new one is to be",
        ("FROM", _BANK),
    ),
    "list": ("list the tasks and what each costs", _BANK, None),
    "remove": ("remove tasks", _BANK, ("TASK", "a task of the bank")),
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of `t5x bank`."""
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (summary, bank, others) in _ACTIONS.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        action = actions.add_parser(name, help=summary, description=description, allow_abbrev=False)
        action.add_argument("bank", metavar="BANK", help=bank)
        if others is not None:
            action.add_argument("others", nargs="+", metavar=others[0], help=others[1])


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action, say what came of it, and return the exit status.

    Raises:
        UserError: as in `files`.
    """
    from mpt_jax.bank import files as bank_files

    if arguments.action == "add":
        print(bank_files.add(arguments.bank, arguments.others))
    elif arguments.action == "remove":
        print(bank_files.remove(arguments.bank, arguments.others))
    else:
        bank_files.show(arguments.bank)
    return 0
