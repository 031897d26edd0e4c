"""The smoke comparison, whole: from recipe to a page that a browser draws; other recipes up to their sizes."""

import json
import unittest
from pathlib import Path

import browser
from program import ProgramTest, mote

RECIPES = Path(__file__).parents[2] / "recipes" / "compare"


class Recipes(ProgramTest):
    def test_the_smoke_comparison_makes_a_page_that_a_browser_draws(self):
        out = self.scratch / "out"
        result = mote("compare", RECIPES / "smoke.toml", "--out", out, "--json", timeout=3000)
        self.assert_done(result)
        runs = result.json()["runs"]
        self.assertEqual(len(runs), 10)
        for run in runs:
            self.assertLess(run["valid_loss"], 3.0, run["name"])
        rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
        self.assertEqual(len(rows), 10)
        if not browser.BROWSER:
            self.skipTest("no chromium here")
        opened = browser.Opened(out / "report.html")
        self.assertEqual(browser.problems(opened, 11), [])

    def test_every_recipe_has_sizes_that_match(self):
        recipes = sorted(RECIPES.glob("*.toml"))
        self.assertGreaterEqual(len(recipes), 4)
        for recipe in recipes:
            with self.subTest(recipe=recipe.name):
                self.assert_done(mote("compare", recipe, "--dry-run", "--json"))


if __name__ == "__main__":
    unittest.main()
