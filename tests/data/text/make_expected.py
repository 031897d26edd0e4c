"""Writes expected.json: the ids that Hugging Face's `tokenizers` gives with tokenizer.json here.

    pip install tokenizers==0.22.2
    python make_expected.py            (needs Debian's dict-gcide and bible-kjv)

tokenizer.json was learned by mote from kjv with 800 tokens (bpe_test.cpp checks that it still is).
"""
import gzip
import json
import pathlib
import subprocess
import unicodedata

import tokenizers

FOLDER = pathlib.Path(__file__).parent
BLOCK = 65536

TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "a", " a", "  a", "a ", "a  ", "a\n", "a \n b", " \n", "\n ",
    "In the beginning God created the heaven and the earth.",
    "And the evening and the morning were the first day.\n\n   Gen 1:6",
    "I'm you're he's we've they'll she'd don't o'clock 'tis ''s 's'S'LL'Ve I'M",
    "can't'd've", "rock'n'roll", "it\u2019s a typographic apostrophe",
    "1 12 123 1234 3.14159 1,000,000 x2y3 2nd 0x1F", "\u0661\u0662\u0663 \u096a\u096b \u2163 \u00bd \u00b2 \u2460",
    "snake_case camelCase kebab-case x+=1; /* c */ <tag attr=\"v\">", "!!! ??? ... --- ___ ***", " !a !  !a",
    "naive cafe\u0301 re\u0301sume\u0301", "na\u00efve caf\u00e9 r\u00e9sum\u00e9", "e\u0301\u0323 z\u0351\u036b\u0353\u036a\u0302",
    "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3002 \u4e2d\u6587 \u6ca1\u6709\u7a7a\u683c\u3001\u6709\u6807\u70b9\u3002",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc785\ub2c8\ub2e4. \u1112\u1161\u11ab",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u05e9\u05dc\u05d5\u05dd \u0627\u0644\u0633\u0644\u0627\u0645",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22", "\u0130stanbul \u0131I \u00df \u1e9e \u017f \u01c5",
    "\U0001F600\U0001F389 \U0001F468\u200D\U0001F469\u200D\U0001F467 \U0001F1E9\U0001F1EA \U0001F44D\U0001F3FD \u2764\uFE0F",
    "a\U0001F600b \U00010348\U00020000 \U000E0041",
    "nbsp\u00a0thin\u2009em\u2003ideographic\u3000nel\u0085ls\u2028ps\u2029end", "mongolian\u180evowel separator \u180e x",
    "zero\u200bwidth\u200cjoin\u200ders\ufeff soft\u00adhyphen", "nul\u0000 bell\u0007 esc\u001b[0m del\u007f unit\u001fsep",
    "tab\t\tdouble  space \n mixed \t end ", "line one\nline two\n\nline four\r\nCRLF\r", "\n\n\n   \n", "     x", "x     ",
    "trailing spaces   \nnext", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababab", "the the  the   the",
    "\ufffd\ufffd \ufffda", "\U0010FFFF\uE000 private", "$100 \u20ac200 \u00a3300 \u20b9500",
    "\u201csmart\u201d \u2018single\u2019 \u00abguillemets\u00bb \u2014 dash \u2026",
]


def gcide_valid():
    """As `gcide:valid`: each block i with i mod 20 = 18, invalid UTF-8 replaced."""
    text = gzip.open("/usr/share/dictd/gcide.dict.dz").read()
    blocks = range(18, (len(text) + BLOCK - 1) // BLOCK, 20)
    return [text[i * BLOCK:(i + 1) * BLOCK] for i in blocks]


def kjv():
    return [subprocess.run(["bible", "-f", "Gen1:1-Rev22:21"], stdout=subprocess.PIPE, check=True).stdout]


def newer_letters(pieces):
    """Ranges [first, last] of letters and numbers that came after Unicode 14, which PCRE2 10.42 does not know."""
    assert unicodedata.unidata_version == "14.0.0", "run this with Python 3.11"
    ranges = []
    for code in range(0x110000):
        if unicodedata.category(chr(code)) != "Cn" or min(pieces(f"a{chr(code)}"), pieces(f"1{chr(code)}")) > 1:
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return ranges


def every_character(left_out):
    """Each character after a letter and after a space, so that its class shows."""
    codes = set(range(0x110000)) - set(range(0xD800, 0xE000))
    for first, last in left_out:
        codes -= set(range(first, last + 1))
    return ["".join(f"a{chr(c)} {chr(c)} \n" for c in sorted(codes)).encode()]


def summary(name, documents, numbers_of):
    """Count and hash of all numbers: h = (h xor n) * 0x100000001b3 mod 2^64 from 0xcbf29ce484222325."""
    count, digest = 0, 0xCBF29CE484222325
    for document in documents:
        numbers = numbers_of(document.decode("utf-8", "replace"))
        count += len(numbers)
        for number in numbers:
            digest = (digest ^ number) * 0x100000001B3 % 2**64
    return {"name": name, "bytes": sum(map(len, documents)), "count": count, "hash": f"{digest:016x}"}


def main():
    tokenizer = tokenizers.Tokenizer.from_file(str(FOLDER / "tokenizer.json"))

    def ids(text):
        return tokenizer.encode(text, add_special_tokens=False).ids

    def piece_bytes(text):
        """Bytes of each pre-token; in a written pre-token a character stands for a byte."""
        return [len(piece) for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]

    newer = newer_letters(lambda text: len(piece_bytes(text)))
    totals = [summary("kjv", kjv(), ids), summary("gcide:valid", gcide_valid(), ids),
              summary("pieces of every character", every_character(newer), piece_bytes)]
    cases = ",\n".join("  " + json.dumps({"text": t, "ids": ids(t)}) for t in TEXTS)
    texts = ",\n".join("  " + json.dumps(t) for t in totals)
    (FOLDER / "expected.json").write_text(
        f'{{"made_with": "tokenizers {tokenizers.__version__}",\n "cases": [\n{cases}\n ],\n "newer_letters": {newer},\n "texts": [\n{texts}\n ]}}\n')


if __name__ == "__main__":
    main()
