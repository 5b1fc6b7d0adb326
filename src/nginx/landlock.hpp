// The write guard: makes everything read-only for this thread, the threads it starts and their children, but for what
// is named. A seat belt against accidents, through Landlock's system calls (Linux 5.13 and later); not a sandbox.
// Pure: knows neither nginx nor Python.

#pragma once

#include <optional>
#include <string>
#include <vector>

namespace owt {

// Why this kernel cannot do it; nullopt if it can.
std::optional<std::string> landlock_missing();

// directories: writable with all that is below. files: what may be opened for writing, devices above all; those that
// do not exist are passed over. Cannot be undone. Throws std::system_error that names what failed.
void write_only_below(const std::vector<std::string>& directories, const std::vector<std::string>& files);

// Devices, and directories of devices, that programs expect to be able to write to.
std::vector<std::string> usual_devices();

}  // namespace owt
