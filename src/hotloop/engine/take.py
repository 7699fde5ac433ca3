"""Short rows, taken from all over the data: a block of them, before the loop goes through it.

Each row is at a place in memory that nobody foresees, so the processor must wait for many at a time. Of a
loop that copies a few numbers for each, it has few in sight. Here a row is one load and one store, and it
sees some dozens: a million rows take 0.3 to 0.8 of the time that NumPy takes for them
(`benchmarks/suite/staging.py`).
"""

from llvmlite import ir

from hotloop._jit import INTRINSICS, intrinsic, kernel, types
from hotloop.engine.vectors import I32, I64, length_of, pointer_to, sum_over

__all__ = ["MOST_WORDS", "WORD", "take_rows"]

WORD = 4
"""Bytes that rows are made of, whatever these mean."""
MOST_WORDS = 16
"""Of a row that is short."""


def plain_take_words(source, rows, words, out):
    """out[i] = row rows[i] of `source`, both flat, with so many words in a row."""
    for i in range(len(rows)):
        for j in range(words):
            out[i * words + j] = source[rows[i] * words + j]


def _take_words(typing_context, source, rows, words, out):
    def codegen(context, builder, signature, args):
        source_array, rows_array, words, out_array = args
        start, numbers, to = (
            pointer_to(context, builder, kind, array, I64(0))
            for kind, array in ((source, source_array), (rows, rows_array), (out, out_array))
        )
        n = length_of(context, builder, rows, rows_array)

        def write(count: int) -> None:
            whole = ir.VectorType(I32, count).as_pointer()

            def turn(i, nothing):
                places = (builder.load(builder.gep(numbers, [i])), i)
                where, target = (
                    builder.bitcast(builder.gep(base, [builder.mul(place, I64(count))]), whole)
                    for base, place in zip((start, to), places, strict=True)
                )
                row = builder.load(where)
                row.align = WORD
                builder.store(row, target).align = WORD
                return []

            sum_over(builder, n, [], turn)

        end = builder.append_basic_block("end")
        switch = builder.switch(words, end)
        for count in range(1, MOST_WORDS + 1):
            block = builder.append_basic_block("words")
            switch.add_case(I64(count), block)
            builder.position_at_end(block)
            write(count)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(source, rows, types.int64, out), codegen


take_words = intrinsic(_take_words) if INTRINSICS else kernel(plain_take_words)


@kernel
def take_rows(source, rows, words, out):
    """out[i] = row rows[i] of `source`.

    `source` and `out` are int32 and flat, with 1 to `MOST_WORDS` words in a row; `rows` int64. All three are
    contiguous, and `rows` in range: nobody looks.
    """
    take_words(source, rows, words, out)
