"""The one exception class that the doors turn into a sentence."""


class UserError(ValueError):
    """Something the user can mend: a wrong path, option, file or weight. The message holds the value and what to do."""

    def __init__(self, message: str):
        if message.startswith("Caught UserError in"):  # of a loader's worker; torch hands over its traceback, which ends with the sentence
            message = message.rpartition(f"{__name__}.{type(self).__name__}: ")[2].strip()
        super().__init__(message)
