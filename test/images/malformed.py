# SPDX-License-Identifier: Apache-2.0
#
# Layouts that are not valid images, one for each reason to refuse. cases.txt lists them: name, tag,
# platform to ask for, where the defect is, what it is, separated by tabs.
#
# `where` is one of layout, index, manifest, config, blob, tar, tree: what a refusal should point at.

import os
import shutil

import malformed_oci  # noqa: F401 (adds its cases)
import malformed_tar  # noqa: F401
from layout import Layout
from malformed_case import CASES


def build(directory):
    """DIRECTORY/NAME is a layout for each case; DIRECTORY/cases.txt lists them, tab-separated."""
    if os.path.lexists(directory):
        if os.listdir(directory) and not os.path.exists(os.path.join(directory, "cases.txt")):
            raise FileExistsError(f"{directory} is there and was not made here")
        shutil.rmtree(directory)
    os.makedirs(directory)
    with open(os.path.join(directory, "cases.txt"), "w", encoding="ascii") as f:
        for name, platform, where, what, function in CASES:
            layout = Layout(os.path.join(directory, name))
            desc = function(layout)
            if desc is not None:
                layout.index({"latest": desc})
            f.write("\t".join((name, "latest", platform, where, what)) + "\n")
