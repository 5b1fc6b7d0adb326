// The pool that runs calls in Python, as the event loop sees it: the one way from nginx's side to Python's. Calls go in
// here and come back through the doorbell. Pure: knows neither nginx nor Python.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "call/call.hpp"
#include "call/doorbell.hpp"
#include "call/publication.hpp"

namespace owt {

// What Python has to ask the process that it shares with nginx. From any thread.
struct Host {
    std::function<void()> in_child;  // in a process that an adaptor forked
    // The first descriptor in [low, high) that is the server's and not Python's; -1 if none is.
    std::function<int(int low, int high)> first_owned;
    std::function<void()> before_program;  // one is about to be started that may inherit descriptors
    // An endpoint, by its code's SHA-256, is loaded from now on, or no longer.
    std::function<void(std::string_view code_id, bool loaded)> endpoint;
    std::function<void(double seconds)> load_took;
};

// What an owt_instance block says about a process.
struct Settings {
    std::size_t threads = 8;
    std::size_t most_threads = 64;  // if all wait for something that is not Python
    std::size_t queue = 64;
    std::size_t async = 16384;  // calls that run without a thread
    std::chrono::milliseconds grace{10000};
    std::size_t endpoints = 64;                            // that stay loaded
    std::chrono::milliseconds idle{0};                     // what was not called for so long is dropped; 0: nothing is
    std::string python_home;                               // as it was given; empty: the Python that owt was built with
    std::string python;                                    // its interpreter,
    std::string python_prefix;                             // and what that calls sys.prefix
    std::vector<std::string> python_path;                  // before sys.path
    std::vector<std::string> packages;                     // behind it: where the package is, and what it imports
    std::vector<std::pair<std::string, std::string>> env;  // $index in a value: see with_index()
    std::vector<std::string> preload;
    std::vector<std::shared_ptr<const Publication>> published;
    std::vector<std::string> writable;  // if not empty, everything else is read-only
    std::size_t max_calls = 0;          // 0: no limit
    std::size_t max_rss = 0;            // bytes; 0: no limit
    std::size_t max_rss_hard = 0;       // likewise
    std::string sources;                // owt_dir
    std::chrono::seconds pause{0};      // before Python starts
    Host host;
};

// What stands in a variable's value for the number of the process in its instance, from 0 on.
constexpr std::string_view index_variable = "$index";

// The settings with this number in its place.
inline Settings with_index(Settings settings, std::size_t index) {
    for (auto& [name, value] : settings.env) {
        for (std::size_t at = 0; (at = value.find(index_variable, at)) != std::string::npos;) {
            std::string number = std::to_string(index);
            value.replace(at, index_variable.size(), number);
            at += number.size();
        }
    }
    return settings;
}

// What there is to see of a pool from outside.
struct Load {
    std::size_t queued = 0;        // calls
    std::size_t lost_threads = 0;  // written off, and not back
    std::size_t reliefs = 0;       // how often relieve() has been done
    bool relief_helped = false;    // the last time
};

// Which of its versions a published file is loaded as. The serial number tells the same version, loaded anew, apart.
struct Version {
    std::string hash;  // of its source
    std::uint64_t serial = 0;

    bool operator==(const Version&) const = default;
};

// None of these waits for Python, but for stop().
class Pool {
  public:
    Pool() = default;
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    // Python is up and everything is preloaded.
    virtual bool ready() const = 0;
    // From better to worse.
    enum class Health {
        good,
        worn_out,  // to be replaced when its calls have ended: threads are lost, or Python is not what it was
        stuck,     // to be ended at once: Python cannot be had any more
    };
    virtual Health health() const = 0;
    // Once it is not good.
    virtual std::string why() const = 0;
    // What is wrong, if the call cannot be taken in: there are too many.
    virtual std::optional<Problem> submit(CallPtr call) = 0;
    virtual Load load() = 0;
    // What answers calls of a published file now; nullopt while nothing does, or that changes.
    virtual std::optional<Version> version_of(const std::string& file) = 0;
    // To be called once after a batch of submits.
    virtual void kick() = 0;
    virtual void cancel(const CallPtr& call) = 0;
    // Room again for a call's asynchronous writer.
    virtual void resume(CallPtr call) = 0;
    // Python is to let go of what is idle until the process is below so many bytes. Load tells when that is done.
    virtual void relieve(std::size_t limit) = 0;
    // It is to drop the endpoint whose code's SHA-256 begins so (hex digits), once nothing runs in it any more.
    virtual void drop(std::string code_id) = 0;
    // Cancels everything, closes generators, runs atexit functions. False if Python threads are left at the deadline.
    virtual bool stop(std::chrono::milliseconds deadline) = 0;

  protected:
    ~Pool() = default;  // its threads may outlive everything but the process
};

}  // namespace owt
