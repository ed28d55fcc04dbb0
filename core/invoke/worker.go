package invoke

import "time"

// Worker is one process that runs a function. The zero Worker is the core
// itself.
type Worker struct {
	// ID is a UUID, new for each process.
	ID string
	// FunctionARN is the version-qualified ARN of the function it runs.
	FunctionARN string
}

// Initialization is what a worker says about its own start.
type Initialization struct {
	Success bool
	// Response is the reason when Success is false.
	Response string
}

// WorkerState is the life stage of a worker, as the original's health API names
// it (AWS IoT Greengrass V1 developer guide, "local health check API").
type WorkerState string

// The worker states.
const (
	// Working means that it processes an item.
	Working WorkerState = "Working"
	// Waiting means that it has asked for work and there is none.
	Waiting WorkerState = "Waiting"
	// Starting means that the process runs but has not asked for work.
	Starting WorkerState = "Starting"
	// FailedInitialization means that it said it cannot start.
	FailedInitialization WorkerState = "FailedInitialization"
	// Terminated means that the core stops or stopped it.
	Terminated WorkerState = "Terminated"
	// NotStarted means that it failed and a new attempt is due.
	NotStarted WorkerState = "NotStarted"
	// Initialized means that it said it is ready, without asking for work yet.
	Initialized WorkerState = "Initialized"
)

// WorkerStatus is one entry of the health API.
type WorkerStatus struct {
	FuncArn  string
	WorkerId string
	// ProcessId is a decimal number in a string, as in every published sample.
	ProcessId   string
	WorkerState WorkerState
}

// LogLine is one line that a function wrote.
type LogLine struct {
	Time time.Time
	// Level is TRACE, DEBUG, INFO, WARN, ERROR or FATAL.
	Level string
	// Text may begin with its origin: "file.py:12,message".
	Text string
}
