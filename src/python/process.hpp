// Whether this is the worker's own process, or one that an adaptor has forked from it: what such a child does is not
// the server's.

#pragma once

namespace owt::python {

// Once, in the worker, before anything forks.
void know_process();

bool in_worker();

}  // namespace owt::python
