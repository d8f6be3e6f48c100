# SPDX-License-Identifier: GPL-2.0-only
# What the guest's BPF programs say of real tasks of each kernel: inherited deadlines, who runs and does not
# wait, declared work of the background.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: long
# timeout: 100

native_programs publish_words
