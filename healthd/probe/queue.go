package probe

import "container/heap"

// queue holds the jobs that wait for their next probe, the next one first.
type queue []*job

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push is for package heap.
func (q *queue) Push(x any) {
	j := x.(*job)
	j.place = len(*q)
	*q = append(*q, j)
}

// Pop is for package heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	j := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	j.place = nowhere
	return j
}

const nowhere = -1

// set puts j where its due time says.
func (q *queue) set(j *job) {
	if j.place == nowhere {
		heap.Push(q, j)
		return
	}
	heap.Fix(q, j.place)
}

func (q *queue) remove(j *job) {
	if j.place != nowhere {
		heap.Remove(q, j.place)
	}
}
