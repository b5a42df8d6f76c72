"""Three sequences of one value a request, and what the sequence models answer."""

import uuid

from support import flags

values = [11, 7, 5, 3, 2, 0, 1]
minus = [-value for value in values]


def sequences():
    """Model, id, values and expected outputs of each."""
    if not flags.dyna:
        model = "simple_sequence"
        return [
            (model, 1000, [0, *values], [1, *values]),
            (model, 1001, [100, *minus], [101, *minus]),
            (model, str(uuid.uuid4()), [20, *minus], [21, *minus]),
        ]

    def ended(first, rest, correlation):
        return [first, *rest[:-1], rest[-1] + correlation]

    # The model with text ids sums up, and adds the id at the end as the others do.
    sums = [20]
    for value in minus:
        sums.append(sums[-1] + value)
    sums[-1] += 1002
    return [
        ("simple_dyna_sequence", 1000, [0, *values], ended(1, values, 1000)),
        ("simple_dyna_sequence", 1001, [100, *minus], ended(101, minus, 1001)),
        ("simple_string_dyna_sequence", "1002", [20, *minus], sums),
    ]
