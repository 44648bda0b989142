//! Seats for connections. There are so many and no more; when all are taken, connections that lie idle make room, those
//! that never asked for anything first. Whoever holds thousands of connections open keeps nobody out.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::net::Shutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Notify;

/// A request of so many bytes may always come: those for tokens are smaller.
const SMALL: usize = 4 * 1024;
/// So many requests may always share a connection.
const FEW: usize = 4;
/// And so many of all connections together; each takes some 6 KiB until its answer is taken.
const MOST_SHARING: usize = 1024;
/// How long a connection that was answered is left alone: the answer may still be on its way.
const GRACE: Duration = Duration::from_millis(20);
/// One part in so many makes room at a time, so that looking for the idlest is not the price of every connection.
const PART: usize = 32;
/// Descriptors that are not connections: files, sockets that listen, and what each worker needs to wait for them.
const OTHERS: u64 = 56;
const OF_A_WORKER: u64 = 4;
/// A connection takes its own descriptor and the one by which it can be told to end.
const EACH: u64 = 2;
/// So many more than there are seats may have come and not been welcomed yet, or been ended and not be gone yet. The next
/// ones wait in the system's queue, where they take no descriptor.
const IN_PASSING: usize = 16;

/// The seats of a server.
pub struct Connections {
    most: usize,
    began: Instant,
    seats: Mutex<Seats>,
    /// Bytes of requests that are not whole yet.
    unfinished: AtomicUsize,
    /// Requests that share a connection with others, their answers not taken yet.
    sharing: AtomicUsize,
    most_unfinished: usize,
    welcomed: AtomicU64,
    made_room: AtomicU64,
    refused: AtomicU64,
}

/// What became of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many there are.
    pub open: usize,
    /// How many there may be.
    pub most: usize,
    /// How many ever came and got a seat.
    pub welcomed: u64,
    /// How many of those were ended, idle, to make room.
    pub made_room: u64,
    /// How many got no seat.
    pub refused: u64,
}

#[derive(Default)]
struct Seats {
    taken: HashMap<u64, Arc<Place>>,
    next: u64,
}

struct Place {
    socket: OwnedFd,
    /// When it was last answered, or came; milliseconds after the beginning.
    since: AtomicU64,
    /// How often it was answered.
    answers: AtomicU64,
    under_way: AtomicUsize,
    /// Until when it waits with what costs much.
    paused_until: AtomicU64,
    /// Tells that it made room.
    ended: Notify,
}

/// A seat that is taken. It belongs to its connection, and is free again when that is dropped.
pub struct Seat {
    number: u64,
    place: Arc<Place>,
    connections: Arc<Connections>,
}

/// A request that waits makes its connection no busier than if it had not come, as long as this lives.
struct Idle<'a>(&'a Place);

impl<'a> Idle<'a> {
    fn while_busy(place: &'a Place) -> Self {
        place.under_way.fetch_sub(1, Ordering::AcqRel);
        Self(place)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_add(1, Ordering::AcqRel);
    }
}

/// A connection is not idle as long as this lives.
pub struct Busy {
    place: Arc<Place>,
    connections: Arc<Connections>,
}

impl Connections {
    /// As many seats as `most`, with `most_unfinished` bytes of requests that are not whole yet, or fewer where the system does not give enough descriptors.
    #[must_use]
    pub fn new(most: usize, workers: usize, most_unfinished: usize) -> Arc<Self> {
        let others = OTHERS + workers as u64 * OF_A_WORKER;
        let possible = descriptors((most + IN_PASSING) as u64 * EACH + others).saturating_sub(others) / EACH;
        let possible = usize::try_from(possible).unwrap_or(usize::MAX).saturating_sub(IN_PASSING).max(1);
        if possible < most {
            tracing::warn!(
                connections = possible,
                wanted = most,
                "fewer connections than limits.connections: the system gives no more file descriptors"
            );
        }
        Arc::new(Self {
            most: most.min(possible),
            began: Instant::now(),
            seats: Mutex::default(),
            unfinished: AtomicUsize::new(0),
            sharing: AtomicUsize::new(0),
            most_unfinished,
            welcomed: AtomicU64::new(0),
            made_room: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// How many connections each of `workers` may hold, those in passing included.
    #[must_use]
    pub fn of_each(&self, workers: usize) -> usize {
        (self.most + IN_PASSING).div_ceil(workers.max(1))
    }

    /// What became of connections.
    #[must_use]
    pub fn count(&self) -> Count {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Count {
            open: self.seats.lock().taken.len(),
            most: self.most,
            welcomed: value(&self.welcomed),
            made_room: value(&self.made_room),
            refused: value(&self.refused),
        }
    }

    /// Takes a seat for a new connection, which ends where there is none.
    pub fn welcome(self: &Arc<Self>, connection: impl AsFd) -> Option<Seat> {
        let socket = connection.as_fd().try_clone_to_owned().ok()?;
        self.seat(socket).ok()
    }

    /// Ends connections that were answered, and have been without a whole request for `longest` since.
    pub fn end_overdue(&self, longest: Duration) {
        let (now, longest) = (self.now(), u64::try_from(longest.as_millis()).unwrap_or(u64::MAX));
        let is_overdue = |place: &Place| {
            place.answers.load(Ordering::Relaxed) > 0
                && place.under_way.load(Ordering::Acquire) == 0
                && now.saturating_sub(place.since.load(Ordering::Relaxed)) > longest
        };
        for place in self.seats.lock().taken.values().filter(|place| is_overdue(place)) {
            place.end();
        }
    }

    fn seat(self: &Arc<Self>, socket: OwnedFd) -> Result<Seat, OwnedFd> {
        let now = self.now();
        let mut seats = self.seats.lock();
        if seats.taken.len() >= self.most {
            let before = seats.taken.len();
            make_room(&mut seats, self.most / PART + 1, now);
            let ended = before.saturating_sub(seats.taken.len());
            self.made_room.fetch_add(ended as u64, Ordering::Relaxed);
        }
        if seats.taken.len() >= self.most {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(socket);
        }
        self.welcomed.fetch_add(1, Ordering::Relaxed);
        let number = seats.next;
        seats.next += 1;
        let place = Arc::new(Place {
            socket,
            since: AtomicU64::new(now),
            answers: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            paused_until: AtomicU64::new(0),
            ended: Notify::new(),
        });
        seats.taken.insert(number, Arc::clone(&place));
        Ok(Seat { number, place, connections: Arc::clone(self) })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Ends up to `count` idle connections.
fn make_room(seats: &mut Seats, count: usize, now: u64) {
    let mut idle: Vec<(bool, u64, u64)> = seats
        .taken
        .iter()
        .filter_map(|(&number, place)| {
            let since = place.since.load(Ordering::Relaxed);
            let was_answered = place.answers.load(Ordering::Relaxed) > 0;
            let is_quiet = !was_answered || now.saturating_sub(since) >= GRACE.as_millis() as u64;
            let is_idle = place.under_way.load(Ordering::Acquire) == 0 && is_quiet;
            is_idle.then_some((was_answered, since, number))
        })
        .collect();
    if idle.len() > count {
        idle.select_nth_unstable(count);
        idle.truncate(count);
    }
    for (_, _, number) in idle {
        if let Some(place) = seats.taken.remove(&number) {
            place.end();
        }
    }
}

impl Place {
    fn end(&self) {
        // The other side may have gone already.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        self.ended.notify_one();
    }
}

impl Seat {
    /// Says that a request is under way.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.place.under_way.fetch_add(1, Ordering::AcqRel);
        Busy { place: Arc::clone(&self.place), connections: Arc::clone(&self.connections) }
    }
}

impl Seat {
    /// From now on, for so long, what costs much waits on this connection.
    pub fn pause_for(&self, pause: Duration) {
        let until =
            self.connections.now().saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        self.place.paused_until.store(until, Ordering::Relaxed);
    }

    /// Waits for as long as what costs much has to. Meanwhile the connection is as good as idle, and makes room: whether
    /// it is still there.
    pub async fn outlasts_pause(&self) -> bool {
        let until = self.place.paused_until.load(Ordering::Relaxed);
        // Hardly any connection ever waits: the clock is not asked for the others.
        if until == 0 {
            return true;
        }
        let left = Duration::from_millis(until.saturating_sub(self.connections.now()));
        if left.is_zero() {
            return true;
        }
        let _idle = Idle::while_busy(&self.place);
        tokio::time::timeout(left, self.place.ended.notified()).await.is_err()
    }

    /// How often its connection was answered.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.place.answers.load(Ordering::Relaxed)
    }

    /// Whether a request is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.place.under_way.load(Ordering::Acquire) > 0
    }

    /// Room for one more request on a connection that has `others` under way. When there are many of all connections
    /// together, only connections with few get more.
    #[must_use]
    pub fn share(&self, others: usize) -> Option<Sharing> {
        if others >= FEW && self.connections.sharing.load(Ordering::Relaxed) >= MOST_SHARING {
            return None;
        }
        self.connections.sharing.fetch_add(1, Ordering::Relaxed);
        Some(Sharing(Arc::clone(&self.connections)))
    }

    /// What a request that is not whole yet takes; nothing so far.
    #[must_use]
    pub fn holding(&self) -> Holding {
        Holding { connections: Arc::clone(&self.connections), bytes: 0 }
    }
}

/// A request that shares its connection with others.
pub struct Sharing(Arc<Connections>);

impl Drop for Sharing {
    fn drop(&mut self) {
        self.0.sharing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes of a request that is not whole yet.
pub struct Holding {
    connections: Arc<Connections>,
    bytes: usize,
}

impl Holding {
    /// Adds what has come. Whether there is room for it: when all requests that are not whole take too much together, only
    /// small ones get more.
    pub fn add(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let all = self.connections.unfinished.fetch_add(bytes, Ordering::Relaxed) + bytes;
        all <= self.connections.most_unfinished || self.bytes <= SMALL
    }

    /// How much it is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The request is whole, or gone.
    pub fn release(&mut self) {
        self.connections.unfinished.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.release();
    }
}

impl Busy {
    /// Reads nothing more from the connection: what was to come is not waited for.
    pub fn stop_reading(&self) {
        let _ = rustix::net::shutdown(&self.place.socket, Shutdown::Read);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.seats.lock().taken.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.place.since.store(self.connections.now(), Ordering::Relaxed);
        self.place.answers.fetch_add(1, Ordering::Relaxed);
        self.place.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How many descriptors this process may have, after asking for `wanted`.
fn descriptors(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let now = limit.current.unwrap_or(u64::MAX);
    if now >= wanted {
        return now;
    }
    let more = limit.maximum.map_or(wanted, |most| most.min(wanted));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(more), maximum: limit.maximum }) {
        Ok(()) => more,
        Err(_) => now,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream as Pipe;

    use super::*;

    fn with_seats(most: usize) -> Arc<Connections> {
        since(most, Instant::now())
    }

    fn since(most: usize, began: Instant) -> Arc<Connections> {
        Arc::new(Connections { began, ..Arc::into_inner(Connections::new(most, 1, 1 << 20)).unwrap() })
    }

    fn connect(connections: &Arc<Connections>) -> (Option<Seat>, Pipe) {
        let (server, client) = Pipe::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        (connections.seat(server.into()).ok(), client)
    }

    fn taken(connections: &Connections) -> usize {
        connections.seats.lock().taken.len()
    }

    fn was_ended(client: &mut Pipe) -> bool {
        matches!(client.read(&mut [0]), Ok(0))
    }

    #[test]
    fn a_seat_is_free_when_its_connection_is_gone() {
        let connections = with_seats(2);
        let first = connect(&connections);
        let second = connect(&connections);
        assert_eq!(taken(&connections), 2);
        drop((first, second));
        assert_eq!(taken(&connections), 0);
    }

    #[test]
    fn whoever_never_asked_makes_room_before_whoever_was_answered() {
        let connections = with_seats(2);
        let (answered, mut client) = connect(&connections);
        drop(answered.as_ref().unwrap().busy());
        let (_silent, mut silent_client) = connect(&connections);
        let (third, _client) = connect(&connections);
        assert!(third.is_some() && was_ended(&mut silent_client) && !was_ended(&mut client));
        assert_eq!(taken(&connections), 2);
    }

    #[test]
    fn whoever_is_busy_or_was_just_answered_is_left_alone_and_the_next_one_is_refused() {
        let connections = with_seats(2);
        let (busy, mut client) = connect(&connections);
        let under_way = busy.as_ref().unwrap().busy();
        let (answered, mut other) = connect(&connections);
        drop(answered.as_ref().unwrap().busy());
        assert!(connect(&connections).0.is_none());
        assert!(!was_ended(&mut client) && !was_ended(&mut other));
        drop(under_way);
    }

    #[test]
    fn the_longest_idle_of_those_that_were_answered_makes_room() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let connections = since(2, long_ago);
        let (first, mut first_client) = connect(&connections);
        let (second, mut second_client) = connect(&connections);
        for (seat, since) in [(&first, 20_000), (&second, 10_000)] {
            let seat = seat.as_ref().unwrap();
            drop(seat.busy());
            seat.place.since.store(since, Ordering::Relaxed);
        }
        assert!(connect(&connections).0.is_some());
        assert!(was_ended(&mut second_client) && !was_ended(&mut first_client));
    }
}
