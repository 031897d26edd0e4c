"""inspect on files of tensors that mote knows no model for: every container, whole, damaged and half there."""

import os
import pickle
import shutil
import struct
import unittest
import zipfile
from pathlib import Path

from program import ProgramTest, mote

DATA = Path(__file__).parents[1] / "data"


class Inspect(ProgramTest):
    def facts(self, path, *words):
        result = mote("inspect", path, "--json", *words)
        self.assert_done(result)
        return result.json()

    def test_a_gguf_file_by_its_types_and_keys(self):
        facts = self.facts(DATA / "gguf" / "Q6_K.gguf", "--tensors")
        self.assertEqual(facts["format"], "GGUF")
        self.assertEqual(facts["family"], "none")
        self.assertEqual(facts["parameters"]["total"], 1024)
        self.assertEqual(facts["tensors"][0], {"name": "blocks", "shape": [2, 256], "dtype": "Q6_K", "bytes": 420,
                                               "bits_per_weight": 6.5625})
        keys = self.facts(DATA / "gguf" / "keys.gguf")["metadata"]
        self.assertEqual(keys["k.u64"], 1 << 63)
        self.assertEqual(keys["k.texts"], ["", "a", "bc"])

    def test_a_file_is_known_by_its_bytes(self):
        for source, name in (("gguf/keys.gguf", "GGUF"), ("pickle/zip.pt", "PyTorch pickle"),
                             ("pickle/legacy.pt", "PyTorch pickle")):
            copy = self.scratch / "weights.data"
            shutil.copy(DATA / source, copy)
            self.assertEqual(self.facts(copy)["format"], name)

    def test_a_folder_whose_family_is_unknown_is_described(self):
        folder = self.scratch / "unknown"
        folder.mkdir()
        shutil.copy(DATA / "pickle" / "zip.pt", folder / "pytorch_model.bin")
        (folder / "config.json").write_text('{"model_type": "never_heard_of"}')
        facts = self.facts(folder, "--tensors")
        self.assertEqual(facts["family"], "never_heard_of")
        self.assertIn({"name": "table", "shape": [4, 6], "dtype": "F32", "bytes": 96, "bits_per_weight": 32.0},
                      facts["tensors"])

    def test_people_are_told_the_same(self):
        result = mote("inspect", DATA / "gguf" / "keys.gguf")
        self.assert_done(result)
        self.assertIn("general.architecture", result.stdout)

    def test_what_is_missing_is_named(self):
        folder = self.scratch / "half"
        folder.mkdir()
        shutil.copy(DATA / "gguf" / "split-00001-of-00002.gguf", folder)
        self.assert_refused(mote("inspect", folder), 1, "split-00002-of-00002.gguf", "download")
        empty = self.scratch / "config_only"
        empty.mkdir()
        (empty / "config.json").write_text('{"model_type": "llama_of_tomorrow"}')
        self.assert_refused(mote("inspect", empty), 1, "config_only", "the model is not all here")

    def test_a_pickle_that_would_run_something_is_refused_by_name(self):
        marker = self.scratch / "was_run"

        class Attack:
            def __reduce__(self):
                return os.system, (f"touch {marker}",)

        path = self.scratch / "attack.bin"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("m/data.pkl", pickle.dumps(Attack(), protocol=2))
        self.assert_refused(mote("inspect", path), 1, "posix.system", "could run code")
        self.assertFalse(marker.exists())

    def test_a_type_of_gguf_that_is_not_read_is_named(self):
        raw = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 64, 40, 0)
        path = self.scratch / "new.gguf"
        path.write_bytes(raw + bytes(-len(raw) % 32 + 64))
        self.assert_refused(mote("inspect", path), 1, "NVFP4", "these are read")


if __name__ == "__main__":
    unittest.main()
