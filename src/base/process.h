// Facts about this process: peak memory, and whether someone asked it to stop.
#pragma once

#include <cstdint>

namespace mote {

// Largest resident memory so far, in bytes.
std::uint64_t peak_rss_bytes();
// Gives freed memory back to the system; peak_rss_bytes() counts anew from here.
void reset_peak_rss();
// Resident memory now, in bytes.
std::uint64_t rss_bytes();

// Memory of this machine in all, and what this process could still take of it, by the machine, the
// limits of its control group and its own.
std::uint64_t memory_bytes();
std::uint64_t available_memory_bytes();

// From now on freed memory is kept for the next request instead of going back to the system: for
// loops that free and ask for the same large blocks again and again.
void keep_freed_memory();
// The other way: what was freed goes back to the system.
void return_freed_memory();

// Standard streams that the caller closed become /dev/null, to be read only: no file takes their
// place and is written what was meant for them, and writing to them still fails.
void fill_standard_streams();

// From now on Ctrl-C, SIGTERM and a terminal's end (SIGHUP, where it is not ignored) only set a
// flag, and a second Ctrl-C or SIGTERM ends the process.
void catch_interrupts();
// From now on the first one calls `end`, which must not return and is called from a signal handler:
// for work that has nothing to leave behind and nowhere to look at the flag.
void on_interrupt(void (*end)());
bool interrupted();
// Throws an `interrupted` Error if the flag is set; long loops call it where nothing is half done.
void stop_if_interrupted();

}  // namespace mote
