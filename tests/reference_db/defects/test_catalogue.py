"""Every defect says what it is, where it belongs and how it should be found; and none leaves anything behind."""

import importlib
import sys
from pathlib import Path

import pytest

import reference_db.defects
from reference_db.defects import defect_names, describe
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


@pytest.mark.parametrize("name", defect_names())
def test_a_defect_is_described(name: str) -> None:
    defect = describe(name)
    assert defect.caption.endswith(".")
    document = importlib.import_module(f"reference_db.defects.{name.replace('-', '_')}").__doc__
    assert document is not None
    assert len(document.strip().splitlines()) > 2, "say where it was seen"


@pytest.mark.parametrize("name", defect_names())
def test_it_is_planted_in_one_world_and_not_in_the_next(name: str) -> None:
    """Planting changes objects of the node, never a class or a module: the next node of the process is clean."""

    def rules() -> dict[str, object]:
        """Every function and class of the database's modules, and every function of its classes."""
        found: dict[str, object] = {}
        for module_name, module in sorted(sys.modules.items()):
            if not module_name.startswith("reference_db") or module_name.startswith("reference_db.defects"):
                continue
            for name, thing in vars(module).items():
                if callable(thing) or isinstance(thing, dict):
                    found[f"{module_name}.{name}"] = dict(thing) if isinstance(thing, dict) else thing
                if isinstance(thing, type) and thing.__module__ == module_name:
                    for attribute, value in vars(thing).items():
                        if callable(value) or isinstance(value, property | classmethod | staticmethod):
                            found[f"{module_name}.{name}.{attribute}"] = value
        return {name: thing for name, thing in found.items() if "__" not in name}

    plant = importlib.import_module(f"reference_db.defects.{name.replace('-', '_')}").plant
    before = rules()

    async def story() -> None:
        world = World(plant=plant)
        world.start_all()
        await world.wait_until_led()
        await world.stop()

    run_virtually(story())
    after = rules()
    for key, thing in before.items():
        assert thing == after[key], key


def test_the_caption_of_the_package_is_no_defect() -> None:
    folder = Path(reference_db.defects.__file__).parent
    assert len(defect_names()) == len(list(folder.glob("*.py"))) - 1


def test_a_defect_that_says_too_little_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from reference_db.defects import fig8_commit

    monkeypatch.delattr(fig8_commit, "WORKLOAD")
    with pytest.raises(ValueError, match=r"defect fig8-commit: .*workload.*each defect needs"):
        describe("fig8-commit")


def test_a_defect_of_an_unknown_layer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from reference_db.defects import fig8_commit

    monkeypatch.setattr(fig8_commit, "LAYER", "cake")
    with pytest.raises(ValueError, match="'cake'"):
        describe("fig8-commit")
