import pytest
from torch.utils.data import DataLoader, Dataset

from cfrsam_d2.errors import UserError, exits_on_user_error

MESSAGE = "slide.png cannot be read: export it again as PNG"


class UnreadableImages(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        try:
            raise OSError("no such file")
        except OSError as error:
            raise UserError(MESSAGE) from error


def exit_of(main, capsys):
    with pytest.raises(SystemExit) as exit_info:
        exits_on_user_error(main)()
    return exit_info.value.code, capsys.readouterr().err


def test_a_user_error_ends_with_its_message_and_status_2(capsys):
    def main():
        raise UserError(MESSAGE)

    assert exit_of(main, capsys) == (2, f"error: {MESSAGE}\n")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_user_error_of_a_loader_worker_ends_with_its_message_alone(num_workers, capsys):
    def main():
        next(iter(DataLoader(UnreadableImages(), num_workers=num_workers)))

    assert exit_of(main, capsys) == (2, f"error: {MESSAGE}\n")


def test_arguments_and_result_pass_through():
    @exits_on_user_error
    def main(first, *, second):
        return first + second

    assert main(1, second=2) == 3
    assert main.__name__ == "main"


def test_other_errors_are_bugs_and_keep_their_traceback():
    @exits_on_user_error
    def main():
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        main()
