"""The one exception class that the doors turn into a sentence."""


class UserError(ValueError):
    """Something the user can mend: a wrong path, option, file or weight. The message holds the value and what to do."""
