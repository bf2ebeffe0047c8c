/* SPDX-License-Identifier: Apache-2.0
 * Libraries say "malformed" or "wrong key" when what they mean is that there was no memory, or go on without
 * a byte that they could not keep. Their allocators are ours, and note every refusal: whoever called a
 * library can ask whether to believe its answer. Any thread, each with a count of its own. */
#ifndef COCOON_BASE_MEMORY_H
#define COCOON_BASE_MEMORY_H

/* Gives `p` back; NULL, an allocation that failed, is counted. */
void *memory_note(void *p);

/* How many have failed in this thread: compare before and after. */
unsigned int memory_shortages(void);

#endif
