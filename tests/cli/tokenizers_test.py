"""Tokenizers that are learned and read, by the program: SentencePiece beside LibTorch in one process."""

import json
import unittest

from program import ProgramTest, mote


class Tokenizers(ProgramTest):
    def prepare(self, out, *words):
        return mote("prepare", self.shared / "train.txt", "--out", out, *words)

    def test_prepare_learns_a_sentencepiece_model_that_train_and_generate_use(self):
        tokens, run = self.scratch / "tokens", self.scratch / "run"
        self.assert_done(self.prepare(tokens, "--tokenizer", "unigram", "--vocab-size", "300"))
        self.assertTrue((tokens / "spiece.model").is_file())
        self.assertFalse((tokens / "tokenizer.json").exists())
        self.assertEqual((self.shared / "train.txt").stat().st_size, json.loads((tokens / "tokens.json").read_text())["bytes"])
        recipe = self.scratch / "recipe.toml"
        recipe.write_text(self.recipe.read_text().replace(f'"{self.shared}/train.txt"', f'"{tokens}"')
                          .replace('tokenizer = "bytes"', 'tokenizer = "unigram"').replace("steps = 60", "steps = 8"))
        self.assert_done(mote("train", recipe, "--out", run))
        self.assertEqual((run / "spiece.model").read_bytes(), (tokens / "spiece.model").read_bytes())
        done = mote("generate", run, "-p", "a small model", "-n", "8", "--seed", "1")
        self.assert_done(done)
        done.stdout.encode()

    def test_a_damaged_sentencepiece_model_is_refused_by_its_name(self):
        tokens = self.scratch / "tokens"
        self.assert_done(self.prepare(tokens, "--tokenizer", "unigram", "--vocab-size", "300"))
        model = tokens / "spiece.model"
        bytes_ = model.read_bytes()
        for damaged in (b"", bytes_[:len(bytes_) // 2], b"\x0a\xff" + bytes_):
            model.unlink()
            model.write_bytes(damaged)
            result = self.prepare(self.scratch / "again", "--tokenizer", tokens)
            self.assert_refused(result, 1, "spiece.model")

    def test_a_tokenizer_that_is_neither_name_nor_folder_is_refused_with_the_nearest(self):
        result = self.prepare(self.scratch / "out", "--tokenizer", "unigramm")
        self.assert_refused(result, 1, "unigramm", "did you mean", "unigram")


if __name__ == "__main__":
    unittest.main()
