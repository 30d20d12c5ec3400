"""Every error with a stable code; the code is the contract, `app.http_errors` maps it to HTTP."""

from __future__ import annotations


class LoadstarError(Exception):
    """Base of all errors that a user can act on: `code` is stable, the text says what to do."""

    code = "internal"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ModelMissingError(LoadstarError):
    """A model file or the library that loads it is not there."""

    code = "model_missing"


class SpaceMismatchError(LoadstarError):
    """Vectors of two spaces were about to be compared."""

    code = "space_mismatch"


class GenerationDamagedError(LoadstarError):
    """A generation's files do not agree with its manifest."""

    code = "generation_damaged"


class ForeignDatabaseError(LoadstarError):
    """The database is not Loadstar's, or of a version this program does not know."""

    code = "foreign_database"


class DatabaseUnavailableError(LoadstarError):
    """The database could not be reached or is locked."""

    code = "database_unavailable"


class PackageUnreadableError(LoadstarError):
    """A skill package could not be read."""

    code = "package_unreadable"


class SourceUnreadableError(LoadstarError):
    """A source of packages could not be opened."""

    code = "source_unreadable"


class SettingsError(LoadstarError):
    """A setting is unknown or has a wrong value."""

    code = "settings_invalid"


class NotFoundError(LoadstarError):
    """What was asked for is not in the catalogue."""

    code = "not_found"


class InvalidFilterError(LoadstarError):
    """A filter names something that cannot be matched."""

    code = "invalid_filter"


class OverloadedError(LoadstarError):
    """More requests are under way than are admitted; `retry_after_s` says when to come back."""

    code = "overloaded"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class DeadlineError(LoadstarError):
    """A route took longer than it may."""

    code = "deadline"


class NotReadyError(LoadstarError):
    """The server has not loaded its generation yet."""

    code = "not_ready"


class RerankerFailedError(LoadstarError):
    """A reranker gave no scores. No route is answered with it, since word overlap takes its
    place; a fit or a calibration ends with it."""

    code = "reranker_failed"
