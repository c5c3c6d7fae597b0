"""Puts the traceback of an exception into the plugin's log.

A plugin has no standard error: without this, all that is left of an exception is that the call trapped. The module
`traceback` is of no use here: it looks for the source files, and a plugin has no files.
"""

import functools

from componentize_py_types import Err
from wit_world.imports import log


def traced(function):
    """Logs what `function` raises, line by line, and raises it again. `Err` is no exception but an answer."""

    @functools.wraps(function)
    def call(*args):
        try:
            return function(*args)
        except Err:
            raise
        except Exception as error:
            for line in lines(error):
                log.log(log.Level.ERROR, line)
            raise

    return call


def lines(error):
    """The traceback as Python shows it, without the text of the lines; causes come first."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from lines(before)
        yield "Then:"
    yield "Traceback (most recent call last):"
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        yield f'  File "{code.co_filename}", line {step.tb_lineno}, in {code.co_name}'
        step = step.tb_next
    yield f"{type(error).__name__}: {error}"
