"""Typed exceptions: programming, configuration and input errors raise; bad *data* in a frame never does."""


class VlocError(Exception):
    """Base of every error this package raises on purpose; its text is one sentence a user can act on."""


class ConfigError(VlocError):
    """A configuration key is unknown, of the wrong type, or out of range."""


class CalibrationError(VlocError):
    """A camera calibration is missing, inconsistent, or does not describe the images."""


class DataError(VlocError):
    """A recording cannot be recognised, opened or read."""


class WeightsError(VlocError):
    """A file of weights is missing, damaged, refused, or belongs to another network."""


class MapError(VlocError):
    """A map cannot be opened, is damaged, or was made with another camera, feature type or schema."""


class TrainingError(VlocError):
    """A training cannot go on: a loss or gradient is not finite, a process was lost, or another run writes to the folder."""
