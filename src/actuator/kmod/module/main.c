// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvsched.ko: the scheduler's door for the broker's BPF programs; or, where the broker wants it, in
 * place of them (engine.h). A program calls pvsched_kmod_want()
 * with a vCPU's slot and a word (word.h), under the run queue lock or in an interrupt, where no
 * thread's scheduling can be changed; the module's SCHED_FIFO thread on the vCPU's CPU changes it,
 * and calls pvsched_kmod_done(), to which programs are attached.
 *
 * It touches threads that the broker registered, no others, and puts back what each of them had: at
 * the word's expiry by a timer of its own, and all of them when the broker's file is closed, so
 * however the broker ends. Budgets are the programs'; here is what holds whatever they ask for:
 * nothing above the priority of the module's threads, nothing for longer than MOST_NS.
 */
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/capability.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/file.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <uapi/linux/sched/types.h>

#include "engine.h"
#include "slot.h"

#define BELLS 8 /* rings heard in one boost: each wakes a thread that no budget is charged for */
#define RESTS 100 /* attempts to bring a thread back: one does */

#ifndef __bpf_kfunc /* before 6.3 */
#define __bpf_kfunc __used noinline
#endif
#ifndef BTF_KFUNCS_START /* before 6.9 */
#define BTF_KFUNCS_START(name) BTF_SET8_START(name)
#define BTF_KFUNCS_END(name)   BTF_SET8_END(name)
#endif

struct worker {
	struct kthread_worker
		*thread; /* NULL = that CPU was not on yet; then as long as the module */
	struct kthread_work work;
	struct irq_work irq; /* a thread cannot be woken under the run queue lock */
	/* Slots. Each has its own: one whose thread is kept from running, by real-time work of the host,
	 * keeps no slot from another. */
	DECLARE_BITMAP(todo, PVSCHED_KMOD_SLOTS);
};

static struct worker *workers; /* by CPU */
static u32 first; /* a CPU that has a worker */
static int hotplug; /* the state of ours; 0 = none yet */
static DEFINE_MUTEX(registry);
/* Workers' coming, and their priority. Inside `registry`, and inside the lock of hotplug, which is taken
 * inside `registry`, too. */
static DEFINE_MUTEX(staff);
static u32 fifo; /* their priority; 0 = no broker has said */
static unsigned long opened; /* bit 0 */
static atomic_t news; /* foreign changes that the broker has not read of */
static DECLARE_WAIT_QUEUE_HEAD(readers);

void tell_broker(void)
{
	atomic_inc(&news);
	wake_up_interruptible(&readers);
}

static void work(struct kthread_work *work)
{
	struct worker *w = container_of(work, struct worker, work);
	struct slot *s;
	u32 slot;

	for_each_set_bit(slot, w->todo, PVSCHED_KMOD_SLOTS)
	{
		/* before `want` is read: who writes it later sets it anew */
		clear_bit(slot, w->todo);
		smp_mb__after_atomic();
		s = &slots[slot];
		rt_mutex_lock(&s->lock);
		if (s->task)
			slot_apply(s);
		rt_mutex_unlock(&s->lock);
	}
}

static void on_irq(struct irq_work *irq)
{
	struct worker *w = container_of(irq, struct worker, irq);

	kthread_queue_work(w->thread, &w->work);
}

/* In any context but NMI. */
static void hand(struct slot *s, u32 cpu)
{
	struct worker *w;

	preempt_disable(); /* who has set the bit queues the work: all others rely on that */
	/* acquire: pairs with the release in on_online() */
	w = &workers[cpu < nr_cpu_ids && smp_load_acquire(&workers[cpu].thread) ? cpu : first];
	if (!test_and_set_bit(s - slots, w->todo))
		irq_work_queue(&w->irq);
	preempt_enable();
}

/* Where the thread is now, the module's can run if it does. Again until it has: it may move before. */
static enum hrtimer_restart on_expiry(struct hrtimer *timer)
{
	struct slot *s = container_of(timer, struct slot, expiry);
	struct task_struct *p = READ_ONCE(s->task); /* put after this is cancelled */

	if (p && is_boosted(s)) {
		hand(s, task_cpu(p));
		hrtimer_start(timer, ns_to_ktime(ktime_get_ns() + RETRY_NS), HRTIMER_MODE_ABS);
	}
	return HRTIMER_NORESTART;
}

/* By whoever rings, under the eventfd's lock. The count is left alone: it is rung for the next, too. */
static int on_bell(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct slot *s = container_of(wait, struct slot, wait);
	u64 word = READ_ONCE(s->word);

	if (key_to_poll(key) & EPOLLIN && PVSCHED_WORD_LEVEL(word) != PVSCHED_LEVEL_BASE &&
	    PVSCHED_WORD_REASON(word) != PVSCHED_REASON_PAYBACK && READ_ONCE(s->bells) < BELLS) {
		s->bells++;
		set_bit(RANG, &s->state);
		hand(s, READ_ONCE(s->cpu));
	}
	return 0;
}

struct bell_table {
	poll_table table;
	struct slot *slot;
};

static void on_poll(struct file *file, wait_queue_head_t *head, poll_table *table)
{
	add_wait_queue(head, &container_of(table, struct bell_table, table)->slot->wait);
}

static void unhear(struct slot *s)
{
	u64 count;

	if (!s->bell)
		return;
	eventfd_ctx_remove_wait_queue(s->bell, &s->wait, &count);
	eventfd_ctx_put(s->bell);
	s->bell = NULL;
}

static int hear(struct slot *s, int fd)
{
	struct bell_table t = { .slot = s };
	struct eventfd_ctx *bell;
	struct file *file;

	if (!s->task)
		return -ESRCH;
	file = fget(fd);
	if (!file)
		return -EBADF;
	bell = eventfd_ctx_fileget(file);
	if (!IS_ERR(bell)) {
		unhear(s);
		s->bell = bell;
		init_waitqueue_func_entry(&s->wait, on_bell);
		init_poll_funcptr(&t.table, on_poll);
		vfs_poll(file, &t.table);
	}
	fput(file);
	return PTR_ERR_OR_ZERO(bell);
}

int slot_want(u32 slot, u64 word, u32 cpu)
{
	struct slot *s;

	if (slot >= PVSCHED_KMOD_SLOTS)
		return -EINVAL;
	s = &slots[slot];
	if (!READ_ONCE(s->task))
		return -ESRCH;
	/* a full barrier: the caller looks next whether another one has decided anew */
	xchg(&s->want, word);
	WRITE_ONCE(s->cpu, cpu);
	hand(s, cpu);
	return 0;
}

#ifdef __bpf_kfunc_start_defs
__bpf_kfunc_start_defs();
#else
__diag_push();
__diag_ignore_all("-Wmissing-prototypes", "its prototype is its BTF");
#endif

/* The slot's thread shall be as the word says, from soon on. cpu: where it is. -ESRCH: no thread is
 * registered there. Any context but NMI; ~50 ns, and an interrupt to this CPU itself. */
__bpf_kfunc int pvsched_kmod_want(u32 slot, u64 word, u32 cpu)
{
	return slot_want(slot, word, cpu);
}

#ifdef __bpf_kfunc_end_defs
__bpf_kfunc_end_defs();
#else
__diag_pop();
#endif

BTF_KFUNCS_START(kfuncs)
BTF_ID_FLAGS(func, pvsched_kmod_want)
BTF_KFUNCS_END(kfuncs)

static const struct btf_kfunc_id_set kfunc_set = { .owner = THIS_MODULE, .set = &kfuncs };

static int rest(u32 slot, bool drop);

/* What runs at the priority of the module's threads, or above, cannot be ended by them: it ends first. */
static int end_above(u32 priority)
{
	int err = 0;

	for (u32 slot = 0; slot < PVSCHED_KMOD_SLOTS && !err; slot++) {
		struct slot *s = &slots[slot];
		bool above;

		rt_mutex_lock(&s->lock); /* who has it after this sees the new ceiling */
		above = s->task && PVSCHED_WORD_LEVEL(s->word) == PVSCHED_LEVEL_RT &&
			PVSCHED_WORD_VALUE(s->word) >= (int)priority;
		rt_mutex_unlock(&s->lock);
		if (above)
			err = rest(slot, false);
	}
	return err;
}

static int set_fifo(u32 priority)
{
	struct sched_attr attr = { .size = sizeof(attr), .sched_policy = SCHED_FIFO };
	u32 before = ceiling;
	int err = 0;

	if (priority < 2 || priority > MAX_RT_PRIO - 1)
		return -EINVAL;
	if (priority < before) {
		WRITE_ONCE(ceiling, priority);
		err = end_above(priority);
		if (err) {
			WRITE_ONCE(ceiling, before);
			return err;
		}
	}
	attr.sched_priority = priority;
	mutex_lock(&staff);
	for (u32 cpu = 0; cpu < nr_cpu_ids && !err; cpu++)
		if (workers[cpu].thread)
			err = sched_setattr_nocheck(workers[cpu].thread->task, &attr);
	if (!err)
		fifo = priority; /* of who comes from now on */
	mutex_unlock(&staff);
	if (!err)
		WRITE_ONCE(ceiling, priority);
	return err;
}

static int add(u32 slot, pid_t tid)
{
	struct slot *s = &slots[slot];
	struct pid *pid = find_get_pid(tid);
	struct task_struct *p = get_pid_task(pid, PIDTYPE_PID);
	int err = 0;

	put_pid(pid);
	if (!p)
		return -ESRCH;
	for (u32 i = 0; i < PVSCHED_KMOD_SLOTS && !err; i++)
		if (slots[i].task && (i == slot || slots[i].task == p))
			err = -EEXIST;
	if (!err && (p->flags & PF_KTHREAD || p->policy == SCHED_DEADLINE))
		err = -EINVAL;
	if (err) {
		put_task_struct(p);
		return err;
	}
	rt_mutex_lock(&s->lock);
	slot_begin(s, p);
	rt_mutex_unlock(&s->lock);
	return 0;
}

/* The slot's thread is at its baseline when it returns; with `drop` it is no longer registered. Done
 * here: the module's own threads may not run for as long as real-time work of the host does. */
static int rest(u32 slot, bool drop)
{
	struct slot *s = &slots[slot];
	struct task_struct *p = s->task; /* which changes under `registry` only */
	bool boosted = true;

	if (!p)
		return -ESRCH;
	/* a program that is about to call may still do so: again, if one did */
	for (int i = 0; i < RESTS && boosted; i++) {
		xchg(&s->want, 0);
		rt_mutex_lock(&s->lock);
		slot_apply(s);
		boosted = is_boosted(s);
		if (drop && (!boosted || i == RESTS - 1))
			WRITE_ONCE(s->task, NULL);
		rt_mutex_unlock(&s->lock);
	}
	if (drop) {
		unhear(s);
		hrtimer_cancel(&s->expiry);
		put_task_struct(p);
	}
	return boosted ? -EIO : 0;
}

static int tell_base(struct pvsched_kmod_base *b)
{
	struct slot *s = &slots[b->slot];
	int err = -ESRCH;

	rt_mutex_lock(&s->lock);
	if (s->task) {
		b->policy = s->base.policy;
		b->nice = s->base.nice;
		b->priority = s->base.priority;
		err = 0;
	}
	rt_mutex_unlock(&s->lock);
	return err;
}

static int dev_open(struct inode *inode, struct file *file)
{
	if (!capable(CAP_SYS_NICE))
		return -EPERM;
	if (test_and_set_bit(0, &opened))
		return -EBUSY;
	atomic_set(&news, 0);
	return stream_open(inode, file);
}

static int dev_release(struct inode *inode, struct file *file)
{
	mutex_lock(&registry);
	engine_quiet();
	for (u32 slot = 0; slot < PVSCHED_KMOD_SLOTS; slot++)
		rest(slot, true);
	engine_close();
	WRITE_ONCE(ceiling, 0);
	mutex_unlock(&registry);
	clear_bit(0, &opened);
	return 0;
}

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long value)
{
	void __user *arg = (void __user *)value;
	union {
		struct pvsched_kmod_begin begin;
		struct pvsched_kmod_thread thread;
		struct pvsched_kmod_base base;
		struct pvsched_kmod_bell bell;
		struct pvsched_kmod_layout layout;
		struct pvsched_kmod_policy policy;
		struct pvsched_kmod_attach attach;
		struct pvsched_kmod_slot slot;
		struct pvsched_kmod_cell cell;
		struct pvsched_kmod_page page;
		u32 number;
	} a = {};
	long err = -ENOTTY;

	if (_IOC_TYPE(cmd) != 'v' || _IOC_SIZE(cmd) > sizeof(a))
		return err;
	if (copy_from_user(&a, arg, _IOC_SIZE(cmd)))
		return -EFAULT;
	mutex_lock(&registry);
	if (_IOC_NR(cmd) >= PVSCHED_KMOD_DECIDES)
		err = engine_ioctl(cmd, &a);
	else if (cmd == PVSCHED_KMOD_BEGIN)
		err = a.begin.version == PVSCHED_KMOD_VERSION ? set_fifo(a.begin.priority)
							      : -EPROTO;
	else if (!ceiling)
		err = -EINVAL;
	else if (cmd == PVSCHED_KMOD_FIFO)
		err = set_fifo(a.number);
	else if (a.number >= PVSCHED_KMOD_SLOTS) /* what all others begin with */
		err = -EINVAL;
	else if (cmd == PVSCHED_KMOD_ADD)
		err = add(a.thread.slot, a.thread.tid);
	else if (cmd == PVSCHED_KMOD_REST || cmd == PVSCHED_KMOD_DROP)
		err = rest(a.number, cmd == PVSCHED_KMOD_DROP);
	else if (cmd == PVSCHED_KMOD_BELL)
		err = hear(&slots[a.number], a.bell.fd);
	else if (cmd == PVSCHED_KMOD_BASE)
		err = tell_base(&a.base);
	mutex_unlock(&registry);
	/* a tracepoint that is missing is named */
	if ((!err || cmd == PVSCHED_KMOD_ATTACH) && _IOC_DIR(cmd) & _IOC_READ &&
	    copy_to_user(arg, &a, _IOC_SIZE(cmd)))
		err = -EFAULT;
	return err;
}

/* Readable when somebody else changed a registered thread; reading takes that back. */
static __poll_t dev_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &readers, table);
	return atomic_read(&news) ? EPOLLIN | EPOLLRDNORM : 0;
}

static ssize_t dev_read(struct file *file, char __user *buf, size_t size, loff_t *at)
{
	u64 n;

	if (size < sizeof(n))
		return -EINVAL;
	n = atomic_xchg(&news, 0);
	if (!n)
		return -EAGAIN;
	return copy_to_user(buf, &n, sizeof(n)) ? -EFAULT : sizeof(n);
}

static int dev_mmap(struct file *file, struct vm_area_struct *vma)
{
	return engine_mmap(
		vma); /* no `registry`: whoever holds it may fault, which waits for this */
}

static const struct file_operations dev_ops = {
	.owner = THIS_MODULE, /* not to be removed while a broker has it open */
	.open = dev_open,
	.release = dev_release,
	.unlocked_ioctl = dev_ioctl,
	.poll = dev_poll,
	.read = dev_read,
	.mmap = dev_mmap,
};

static struct miscdevice dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "pvsched-kmod",
	.fops = &dev_ops,
	.mode = 0600,
};

static struct kthread_worker *start_worker(u32 cpu)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
	return kthread_run_worker_on_cpu(cpu, 0, "pvsched/%u");
#else
	return kthread_create_worker_on_cpu(cpu, 0, "pvsched/%u", cpu);
#endif
}

/*
 * A CPU is on: it has a worker from now on, or the one that it had comes back to it. While it was off
 * that one ran elsewhere, by the kernel's will, and did what was left. Without one, another CPU's does:
 * no reason to keep a CPU from coming.
 */
static int on_online(unsigned int cpu)
{
	struct sched_attr attr = { .size = sizeof(attr), .sched_policy = SCHED_FIFO };
	struct kthread_worker *thread;

	mutex_lock(&staff);
	thread = workers[cpu].thread;
	if (thread) {
		set_cpus_allowed_ptr(thread->task, cpumask_of(cpu));
		goto out;
	}
	thread = start_worker(cpu);
	if (IS_ERR(thread))
		goto out;
	attr.sched_priority = fifo;
	if (!fifo || sched_setattr_nocheck(thread->task, &attr))
		sched_set_fifo_low(thread->task);
	if (!workers[first].thread)
		first = cpu;
	smp_store_release(&workers[cpu].thread, thread);
out:
	mutex_unlock(&staff);
	return 0;
}

static int start_workers(void)
{
	int err;

	for (u32 cpu = 0; cpu < nr_cpu_ids; cpu++) {
		init_irq_work(&workers[cpu].irq, on_irq);
		kthread_init_work(&workers[cpu].work, work);
	}
	/* of all that are on, now, and of who comes */
	err = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "pvsched:online", on_online, NULL);
	if (err < 0)
		return err;
	hotplug = err;
	return workers[first].thread ? 0 : -ENOMEM;
}

/* Nobody calls any more: each loaded program that may holds a reference to this module. */
static void stop_workers(void)
{
	if (hotplug)
		cpuhp_remove_state_nocalls(hotplug);
	for (u32 cpu = 0; workers && cpu < nr_cpu_ids; cpu++) {
		if (!workers[cpu].thread)
			continue;
		irq_work_sync(&workers[cpu].irq);
		kthread_destroy_worker(workers[cpu].thread);
	}
	vfree(workers);
	vfree(slots);
}

static void init_slot(struct slot *s)
{
	rt_mutex_init(&s->lock);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(&s->expiry, on_expiry, CLOCK_MONOTONIC, HRTIMER_MODE_ABS);
#else
	hrtimer_init(&s->expiry, CLOCK_MONOTONIC, HRTIMER_MODE_ABS);
	s->expiry.function = on_expiry;
#endif
}

static int __init pvsched_init(void)
{
	int err = -ENOMEM;

	slots = vzalloc(array_size(PVSCHED_KMOD_SLOTS, sizeof(*slots)));
	workers = vzalloc(array_size(nr_cpu_ids, sizeof(*workers)));
	if (!slots || !workers)
		goto out;
	for (u32 slot = 0; slot < PVSCHED_KMOD_SLOTS; slot++)
		init_slot(&slots[slot]);
	err = start_workers();
	if (!err)
		err = register_btf_kfunc_id_set(BPF_PROG_TYPE_TRACING, &kfunc_set);
	if (!err)
		err = register_btf_kfunc_id_set(BPF_PROG_TYPE_SYSCALL, &kfunc_set);
	if (!err)
		err = misc_register(&dev);
out:
	if (err)
		stop_workers();
	return err;
}

static void __exit pvsched_exit(void)
{
	misc_deregister(&dev);
	stop_workers();
	engine_free();
}

module_init(pvsched_init);
module_exit(pvsched_exit);
MODULE_DESCRIPTION("Changes vCPU threads' scheduling for pvsched's BPF programs");
MODULE_LICENSE("GPL");
