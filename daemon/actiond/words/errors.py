"""Whose fault it is: three families. The docstring of an error is the start of its message.

AuthorError    the code of a processor
OperatorError  settings, files, the database: someone has to do something, and the message says what
ClaimError     another daemon, or a person, was faster
"""

from __future__ import annotations


class ActiondError(Exception):
    """Something went wrong."""

    def __str__(self) -> str:
        said = " ".join(str(part) for part in self.args)
        about = _about(type(self))
        return f"{about}: {said}" if said else about


def _about(kind: type) -> str:
    """The docstring, or that of the nearest family; the name where Python runs without docstrings (-OO)."""
    ours = [each.__doc__ for each in kind.__mro__ if issubclass(each, ActiondError)]
    return next((doc.strip().splitlines()[0].rstrip(".") for doc in ours if doc and doc.strip()), kind.__name__)


class AuthorError(ActiondError):
    """The code of a processor is wrong."""


class ProcessorInvalid(AuthorError):
    """This processor cannot be declared."""


class ProcessorTwice(AuthorError):
    """Two processors have one name."""


class ProcessorFileBroken(AuthorError):
    """This processor file cannot be loaded."""


class ResourceInvalid(AuthorError):
    """This resource cannot be declared."""


class ResourceNotOpen(AuthorError):
    """This resource is not open here: the module that declares the processor has to import it by name."""


class ResourceBroken(AuthorError):
    """This resource cannot be opened."""


class BatchClosed(AuthorError):
    """The handler has ended; its actions can no longer be marked."""


class NotInThisBatch(AuthorError):
    """This action belongs to another batch."""


class PayloadInvalid(AuthorError):
    """The payload does not fit."""


class PayloadNewer(PayloadInvalid):
    """The payload is newer than this program."""


class PayloadLocked(PayloadInvalid):
    """The payload cannot be decrypted."""


class RowsDoNotFit(AuthorError):
    """execute_each needs one tuple of arguments for each action."""


class NoTransaction(AuthorError):
    """There is no transaction here."""


class RoleRefused(AuthorError):
    """This processor cannot take its role."""


class WorkerDied(AuthorError):
    """The worker process of this action died."""


class WorkerUnavailable(AuthorError):
    """There is no worker process for this action."""


class OperatorError(ActiondError):
    """Somebody has to do something."""

    exit_code = 1

    def __str__(self) -> str:
        return " ".join(str(part) for part in self.args)


class SettingInvalid(OperatorError):
    """A setting is wrong."""

    exit_code = 2


class ConfigFileInvalid(OperatorError):
    """A configuration file cannot be read."""

    exit_code = 2


class DatabaseUnreachable(OperatorError):
    """The database does not answer."""

    exit_code = 3


class SchemaMissing(OperatorError):
    """The database has no actiond schema."""

    exit_code = 4


class SchemaOutdated(OperatorError):
    """The schema is older than this program."""

    exit_code = 4


class SchemaNewer(OperatorError):
    """The schema is newer than this program."""

    exit_code = 4


class MigrationEdited(OperatorError):
    """A migration file was edited after it was applied."""

    exit_code = 4


class ClaimError(ActiondError):
    """A claim is no longer ours."""


class AnswerLost(ClaimError):
    """The connection was lost before the database answered; the statement may or may not have committed."""


class LeaseLost(ClaimError):
    """This daemon was declared dead."""
