// Whose a descriptor is. Adaptors share the numbers of this process with nginx: what they close by mistake the next
// client's socket gets. So this knows nginx's from Python's, marks nginx's close-on-exec, and puts back 0, 1 and 2.

#pragma once

#include <sys/types.h>

#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "call/fd.hpp"
#include "nginx/ngx.hpp"

namespace owt {

class Descriptors {
  public:
    // In a worker, once all is open that stays so, and before any other thread starts. sources: owt_dir, whose files
    // are Python's. 0 becomes /dev/null. Throws std::runtime_error.
    Descriptors(ngx_cycle_t* cycle, std::string_view sources);

    // --- From any thread.

    // The first in [low, high) that is open and nginx's, or the module's own, or one of 0, 1 and 2; -1 if none is.
    int first_owned(int low, int high) const;
    // A program is about to be started: it is not to inherit what is nginx's.
    void keep_from_children();
    // In a process that an adaptor forked, where no other thread runs: lets go of ports, clients and their files.
    void close_in_child() const;
    // From here on nothing is known: nginx lets go of what it had. Waits for who is looking at it just now.
    void forget();

    // --- On the event loop.

    // Whether the three are what they were; those that are not are put back.
    bool put_back();
    // The name of what this process cannot do without, and what has been closed or replaced; nullptr if nothing has.
    const char* missing() const;

  private:
    struct Identity {
        dev_t device;
        ino_t inode;
        bool operator==(const Identity&) const = default;
    };
    struct Vital {
        int fd;
        Identity identity;
        const char* name;
        bool listens;
    };

    static std::optional<Identity> identity_of(int fd);
    int source_of(int standard) const;
    bool owns(int fd) const;
    bool is_owned(int fd) const;  // with known_ held, or in a forked child, where another thread may have held it
    bool lasts(int fd) const;
    bool is_socket_of_nginx(int fd) const;
    bool is_temporary_file(int fd, ino_t inode) const;

    ngx_cycle_t* const cycle_;
    mutable std::shared_mutex known_;  // held while somebody looks at what is nginx's
    bool active_ = true;
    std::array<Fd, 3> standard_;  // copies of 0, 1 and 2
    std::vector<bool> fixed_;     // by number: open from the start to the end
    std::vector<Vital> vital_;
    std::vector<std::string> directories_;  // of nginx's temporary files, with a slash behind

    mutable std::mutex mutex_;
    std::map<int, ino_t> marked_;  // temporary files that have been made close-on-exec
};

// The least that a process needs: a number below 3 that is nginx's own is told here, when nginx was started with
// stdin, stdout or stderr closed. Nullptr if all is well.
const char* complain_of_numbers(ngx_cycle_t* cycle);

}  // namespace owt
