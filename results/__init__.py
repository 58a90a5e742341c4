"""What a run leaves behind: the record, its formats, its page. Imports nothing of ours."""

from results import kernels

kernels.install()
