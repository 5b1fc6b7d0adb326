// The embedded interpreter: start, attach and detach threads (the GIL), interrupt, stop.

#pragma once

#include <Python.h>

#include <pthread.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "call/doorbell.hpp"
#include "call/pool.hpp"

namespace pybind11 {
class error_already_set;
class tuple;
}  // namespace pybind11

namespace owt::python {

// What children and the libraries of adaptors read from the environment. Before any other thread starts, as getenv() in
// one does not wait for setenv() in another.
void set_environment(const Settings& settings);

// Starts the interpreter on this thread, from here on Python's main thread, and leaves it attached.
// Throws std::runtime_error.
void start(const Settings& settings, Doorbell& doorbell);

// A native thread's attachment to the interpreter for all its life, detached at first. One thread state per thread:
// making one per call would lose threading.local and what extensions keep per thread.
class Thread {
  public:
    Thread();
    ~Thread();
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;

    void attach();
    void detach();
    PyThreadState* state() const { return state_; }

  private:
    PyGILState_STATE gil_;
    PyThreadState* state_;
};

// The thread is detached in this scope: it does not hold the GIL. Declared before any lock, so that the lock is let go
// before the GIL is taken again.
class Detached {
  public:
    Detached() : state_(PyEval_SaveThread()) {}
    ~Detached() { PyEval_RestoreThread(state_); }
    Detached(const Detached&) = delete;
    Detached& operator=(const Detached&) = delete;

  private:
    PyThreadState* state_;
};

// How long a thread that asks for the GIL waits before it interrupts the one that has it. Python's own 5 ms are long
// beside most calls.
constexpr auto switch_interval = std::chrono::milliseconds(1);

// Whether this is a Python whose threads take turns.
#ifdef Py_GIL_DISABLED
constexpr bool has_gil = false;
#else
constexpr bool has_gil = true;
#endif

// All below need the GIL and let no exception out.

// The traceback of a failure, or nullopt.
std::optional<std::string> preload(const std::string& module);
void preloaded();
// Loads what is published and is not lazy. What fails is logged.
void publish(const std::vector<std::shared_ptr<const Publication>>& published);
void thread_started(std::size_t index);
void thread_ended();
// Asynchronous calls: cancel the task; tell the writer of room.
void cancel_task(const CallPtr& call);
void resume_task(const CallPtr& call);
// A task has not ended in time after it was cancelled. True if it has cost an event loop.
bool overdue_task(const CallPtr& call);
void stop(double seconds);
// To let go of what is idle until the process is below so many bytes. Returns at once.
void relieve(std::size_t limit);
// To drop the endpoint whose code's SHA-256 begins so, once nothing runs in it. Returns at once.
void drop(const std::string& code_id);

// Raises owt.Cancelled in the thread at its next bytecode. Not while it is importing: that would leave the module
// half-imported for the life of the process.
bool interrupt(PyThreadState* thread);
void clear_interrupt(PyThreadState* thread);
bool importing(PyThreadState* thread, pthread_t id);
// Ends what the calling thread's call traces or profiles (sys.settrace, cProfile) and has not ended itself: the next
// call on this thread is another's. With the GIL.
void end_tracing();

// A thread that gets this signal writes its Python stack to a pipe, whatever it is doing (faulthandler). What a thread
// that has been asked has written: with nobody held up, as it waits for that.
int stack_signal();
void ask_for_stack(pthread_t thread);
std::string read_stack();

// Keeps a bytes or str object alive while nginx sends from it, and lets it go on a thread that holds the GIL.
// tell is called, from any thread, when there is something to let go.
std::shared_ptr<const void> hold(PyObject* object);
void on_release(std::function<void()> tell);
bool releases_waiting();
void release();

// An event loop that overdue_task() has reported as lost has come round again. tell is called then, from any thread.
void on_loop_back(std::function<void()> tell);
void loop_came_back();
// tell is called, from any thread that holds the GIL, when the process is to be replaced: its interpreter is found
// damaged beyond repair, or nothing is loaded in it any more. why: for the log.
void on_retirement(std::function<void(std::string why)> tell);
void retire(std::string why);
// What relieve() was asked for has been done. tell is called then, from any thread. helped: the process is below that.
void on_relieved(std::function<void(bool helped)> tell);
void relieved(bool helped);

// What the package owt.runtime offers, looked up once.
struct Runtime {
    PyObject* run;
    PyObject* cancel;
    PyObject* resume;
    PyObject* overdue;
    PyObject* preload;
    PyObject* preloaded;
    PyObject* publish;
    PyObject* thread_started;
    PyObject* thread_ended;
    PyObject* stop;
    PyObject* relieve;
    PyObject* drop;
    PyObject* cancelled;  // the exception owt.Cancelled
    PyObject* read_json;
    PyObject* name_run;     // 'run'
    PyObject* own_headers;  // tuples
};
const Runtime& runtime();

// What a location publishes, as Python gets it.
pybind11::tuple as_tuple(const Publication& publication);

// An exception as Python prints it.
std::string text_of(const pybind11::error_already_set& error);

// The doorbell and the process that _owt uses.
Doorbell& doorbell();
const Host& host();
// As the instance sets them; times in seconds.
double grace();
double idle();
std::size_t endpoints();

}  // namespace owt::python
