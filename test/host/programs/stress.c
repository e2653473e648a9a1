/*
 * What several harts do to each other: contended atomics, locks, page tables that change under running threads, code that
 * one thread writes and others execute, fork under stores. Every part checks its results.
 *
 * usage: stress THREADS ROUNDS; exit status 0 if all is right
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define MOST 16

static int threads, rounds;
static pthread_barrier_t barrier;
static _Atomic int failures;

static void fail(const char *what, long seen, long wanted)
{
	if (atomic_fetch_add(&failures, 1) < 10)
		printf("FAILED %s: %ld, not %ld\n", what, seen, wanted);
}

static void meet(void) { pthread_barrier_wait(&barrier); }

/* Runs `body` on all threads, each on a hart of its own as long as there are enough of them. */
static void run(const char *name, void *(*body)(void *))
{
	pthread_t thread[MOST];
	long harts = sysconf(_SC_NPROCESSORS_ONLN);
	int before = failures;

	pthread_barrier_init(&barrier, NULL, threads);
	for (long i = 0; i < threads; i++) {
		pthread_attr_t attributes;
		cpu_set_t set;
		pthread_attr_init(&attributes);
		CPU_ZERO(&set);
		CPU_SET(i % harts, &set);
		pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
		if (pthread_create(&thread[i], &attributes, body, (void *)i) != 0) {
			perror("pthread_create");
			exit(2);
		}
	}
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	printf("%s: %s\n", name, failures == before ? "ok" : "FAILED");
	fflush(stdout);
}

/* Counters by AMO, by LR and SC, of both widths, and by a lock with plain accesses inside. */
static _Atomic uint64_t added;
static _Atomic uint32_t narrow[2];
static _Atomic uint64_t exchanged;
static atomic_flag spinning = ATOMIC_FLAG_INIT;
static uint64_t guarded;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t locked;

static void *atomics(void *argument)
{
	int n = rounds * 100;

	(void)argument;
	meet();
	for (int i = 0; i < n; i++) {
		atomic_fetch_add(&added, 3);
		atomic_fetch_add(&narrow[0], 1);
		uint64_t seen = atomic_load_explicit(&exchanged, memory_order_relaxed);
		while (!atomic_compare_exchange_weak(&exchanged, &seen, seen + 1))
			;
	}
	for (int i = 0; i < rounds; i++) {
		/* The hart that has the lock may not be running: give it the time. */
		while (atomic_flag_test_and_set_explicit(&spinning, memory_order_acquire))
			sched_yield();
		guarded++;
		atomic_flag_clear_explicit(&spinning, memory_order_release);
		pthread_mutex_lock(&mutex);
		locked++;
		pthread_mutex_unlock(&mutex);
	}
	return NULL;
}

/* Dekker's rule: of two threads that store and then load what the other one stores, one sees the other. */
static _Atomic int wants[2];
static _Atomic int turn;
static uint64_t petersons;

static void *fences(void *argument)
{
	long me = (long)argument;

	meet();
	if (me < 2) {
		for (int i = 0; i < rounds * 20; i++) {
			atomic_store_explicit(&wants[me], 1, memory_order_relaxed);
			atomic_store_explicit(&turn, 1 - me, memory_order_relaxed);
			atomic_thread_fence(memory_order_seq_cst);
			int waited = 0;
			while (atomic_load_explicit(&wants[1 - me], memory_order_relaxed) &&
			       atomic_load_explicit(&turn, memory_order_relaxed) == 1 - me)
				if (++waited % 200 == 0)
					sched_yield();
			atomic_thread_fence(memory_order_seq_cst);
			petersons++;
			atomic_store_explicit(&wants[me], 0, memory_order_release);
		}
	}
	return NULL;
}

/* A queue of condition variables: nothing is lost, nothing comes twice. */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int queue[8], queued, produced;
static _Atomic uint64_t consumed;

static void *queues(void *argument)
{
	long me = (long)argument;
	int n = rounds * 2;

	meet();
	if (me == 0) {
		for (int i = 1; i <= n; i++) {
			pthread_mutex_lock(&mutex);
			while (queued == 8)
				pthread_cond_wait(&changed, &mutex);
			queue[queued++] = i;
			pthread_cond_broadcast(&changed);
			pthread_mutex_unlock(&mutex);
		}
		pthread_mutex_lock(&mutex);
		produced = 1;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&mutex);
		return NULL;
	}
	for (;;) {
		pthread_mutex_lock(&mutex);
		while (queued == 0 && !produced)
			pthread_cond_wait(&changed, &mutex);
		if (queued == 0) {
			pthread_mutex_unlock(&mutex);
			return NULL;
		}
		atomic_fetch_add(&consumed, queue[--queued]);
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&mutex);
	}
}

/* Pages that the first thread maps anew while the others have them in their TLBs. */
#define PAGES 32
static char *shared;

static void *remapping(void *argument)
{
	long me = (long)argument;

	for (long round = 1; round <= rounds; round++) {
		if (me == 0) {
			/* Every way to change it in turn; what was there before must be nobody's any more. */
			if (round % 3 == 0)
				madvise(shared, PAGES * PAGE, MADV_DONTNEED);
			else if (round % 3 == 1)
				munmap(shared, PAGES * PAGE);
			if (mmap(shared, PAGES * PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != shared) {
				perror("mmap");
				exit(2);
			}
			for (int i = 0; i < PAGES; i++)
				*(volatile long *)(shared + i * PAGE + 8 * (round % 100)) = round;
		}
		meet();
		for (int i = 0; i < PAGES; i++) {
			volatile long *page = (volatile long *)(shared + i * PAGE);
			long old = page[(round - 1) % 100];
			if (page[round % 100] != round)
				fail("a page that was mapped anew", page[round % 100], round);
			if (old != 0)
				fail("what the page before it had", old, 0);
			/* Each thread stores as well, so that the translation is one for stores. */
			page[200 + me] = round;
		}
		meet();
	}
	return NULL;
}

/* Rights that the first thread takes and gives, while the others store. */
static __thread sigjmp_buf faulted;

static void handler(int number)
{
	(void)number;
	siglongjmp(faulted, 1);
}

static void *protecting(void *argument)
{
	long me = (long)argument;
	volatile long *word = (volatile long *)shared + 300 + me;

	for (int round = 0; round < rounds; round++) {
		*word = round;
		meet();
		if (me == 0 && mprotect(shared, PAGE, round % 2 ? PROT_NONE : PROT_READ) != 0)
			perror("mprotect");
		meet();
		if (sigsetjmp(faulted, 1) == 0) {
			*word = -1;
			fail("a store to a page without the right", round, 0);
		}
		meet();
		if (me == 0 && mprotect(shared, PAGE, PROT_READ | PROT_WRITE) != 0)
			perror("mprotect");
		meet();
		if (*word != round)
			fail("a page that was protected", *word, round);
	}
	return NULL;
}

/* A process that forks while its other threads store: the child's pages stand still. */
static _Atomic int forking;

static void *forks(void *argument)
{
	long me = (long)argument;

	meet();
	if (me != 0) {
		volatile long *word = (volatile long *)shared + 400 + me;
		while (atomic_load(&forking) == 0)
			for (int i = 0; i < PAGES; i++)
				word[i * (PAGE / 8)]++;
		return NULL;
	}
	for (int round = 0; round < rounds / 10; round++) {
		pid_t child = fork();
		if (child == 0) {
			static char before[PAGES * PAGE];
			memcpy(before, shared, sizeof before);
			for (int i = 0; i < 5; i++) {
				sched_yield();
				if (memcmp(before, shared, sizeof before) != 0)
					_exit(1);
			}
			_exit(0);
		}
		int status = 0;
		if (child < 0 || waitpid(child, &status, 0) != child)
			perror("fork");
		else if (status != 0)
			fail("a child whose pages its parent changes", status, 0);
	}
	atomic_store(&forking, 1);
	return NULL;
}

/* Code that the first thread writes and all execute, with a counter on the same page that all raise. */
static char *code;

static void *coding(void *argument)
{
	long me = (long)argument;
	uint32_t *instructions = (uint32_t *)code;
	_Atomic uint32_t *counter = (_Atomic uint32_t *)(code + 2048);

	for (int round = 1; round <= rounds; round++) {
		if (me == 0) {
			instructions[0] = 0x00000513 | (uint32_t)round << 20; /* li a0, round */
			instructions[1] = 0x00008067;                         /* ret */
			__builtin___clear_cache(code, code + 8);
		}
		meet();
		for (int i = 0; i < 3; i++) {
			long seen = ((long (*)(void))code)();
			if (seen != round)
				fail("code that was written anew", seen, round);
			atomic_fetch_add(counter, 1);
		}
		meet();
	}
	return NULL;
}

static void expect(const char *what, uint64_t seen, uint64_t wanted)
{
	if (seen != wanted)
		fail(what, (long)seen, (long)wanted);
}

int main(int count, char **arguments)
{
	threads = count > 1 ? atoi(arguments[1]) : 4;
	rounds = count > 2 ? atoi(arguments[2]) : 200;
	if (threads < 2 || threads > MOST || rounds < 1 || rounds > 2000) {
		fprintf(stderr, "usage: stress THREADS (2 to %d) ROUNDS (1 to 2000)\n", MOST);
		return 2;
	}
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_NODEFER };
	sigaction(SIGSEGV, &action, NULL);
	shared = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || code == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	narrow[1] = 7;

	run("atomics", atomics);
	uint64_t all = (uint64_t)threads * rounds;
	expect("amoadd.d", added, all * 300);
	expect("amoadd.w", narrow[0], all * 100);
	expect("the word beside it", narrow[1], 7);
	expect("lr and sc", exchanged, all * 100);
	expect("a spin lock", guarded, all);
	expect("a mutex", locked, all);
	run("fences", fences);
	expect("Peterson's lock", petersons, (uint64_t)rounds * 40);
	run("queues", queues);
	uint64_t n = (uint64_t)rounds * 2;
	expect("a queue", consumed, n * (n + 1) / 2);
	run("remapping", remapping);
	run("protecting", protecting);
	run("forks", forks);
	run("coding", coding);
	expect("a counter beside code", *(uint32_t *)(code + 2048), all * 3);
	printf("stress: %s\n", failures == 0 ? "all right" : "FAILED");
	return failures == 0 ? 0 : 1;
}
