"""Errors that the user can fix.

PipelineError
├── ParamsError      a setting in params.yaml is missing, unknown or invalid
├── FetchError       an archive could not be fetched, or is not the published one
├── DataError        a file in artifacts/ or data/ is not what its reader expects
├── PictureError     no digits can be read from a picture
├── DeviceError      the requested device is not available
├── TrainingError    training failed, e.g. the loss is no longer finite
├── StorageError     a file could not be written
├── ExportError      the exported model differs from the trained one
├── RepositoryError  DVC cannot work in this folder or git repository
├── TrackingError    MLflow cannot be synced with dvc.lock
└── PromotionError   a registered model does not become champion
"""


class PipelineError(Exception):
    """One sentence: what was found, what was expected, and where."""


class ParamsError(PipelineError):
    pass


class FetchError(PipelineError):
    pass


class DataError(PipelineError):
    pass


class PictureError(PipelineError):
    """`code` is the machine-readable reason: not_a_picture, damaged_picture, animated_picture, picture_size or
    blank_page; from reading rows also more_than_one_line or too_many_digits."""

    def __init__(self, code: str, got: str, expected: str) -> None:
        super().__init__(f"got {got}, expected {expected}")
        self.code = code
        self.got = got
        self.expected = expected


class DeviceError(PipelineError):
    pass


class TrainingError(PipelineError):
    pass


class StorageError(PipelineError):
    pass


class ExportError(PipelineError):
    pass


class RepositoryError(PipelineError):
    pass


class TrackingError(PipelineError):
    pass


class PromotionError(PipelineError):
    pass
