//! The clients of the model: they log in and out at random nodes, are told so when the node says so, and come back when it
//! crashes. Part of `world`.

use super::super::directory::{Login, Node};
use super::{Device, Event, RECONNECT_US, World};

impl World {
    pub(super) fn churn(&mut self) {
        // As many come as go, around the average.
        let is_login = self.some[0].len() as f64 <= self.p.online * self.devices.len() as f64;
        let from = &self.some[usize::from(is_login)];
        if from.is_empty() {
            return;
        }
        let device = from[self.rng.usize(0..from.len())];
        if is_login {
            self.log_in(device);
        } else {
            self.log_out(device);
        }
    }

    pub(super) fn log_in(&mut self, device: u32) {
        let node = self.rng.usize(0..self.members.len());
        let clock_us = self.members[node].clock_us(self.now_us);
        let is_ready = self.members[node]
            .directory
            .as_mut()
            .is_some_and(|directory| directory.is_ready(clock_us));
        if self.devices[device as usize] != Device::Off {
            return;
        }
        let Some(directory) = self.members[node].directory.as_mut().filter(|_| is_ready) else {
            // Refused: it comes back.
            let after_us = self.rng.u64(0..RECONNECT_US);
            return self.file(after_us, Event::LogIn(device));
        };
        let (count, since_us) = &mut self.logins[device as usize];
        (*count, *since_us) = (*count + 1, self.now_us);
        let login = Login::from(*count) << 32 | Login::from(device);
        let is_done = directory.login(clock_us, device / self.p.devices_a_user, login);
        self.move_device(device, 0);
        self.devices[device as usize] = Device::Waiting(node);
        self.outcome.logins += 1;
        if is_done {
            self.logged_in(login);
        }
    }

    fn log_out(&mut self, device: u32) {
        if let Device::In(node) | Device::Waiting(node) = self.devices[device as usize]
            && let Some(directory) = &mut self.members[node].directory
        {
            directory.logout(device / self.p.devices_a_user);
        }
        self.set_off(device);
    }

    pub(super) fn set_off(&mut self, device: u32) {
        self.devices[device as usize] = Device::Off;
        self.move_device(device, 1);
    }

    /// Between the lists of devices to choose from: 0 is online, 1 is not.
    fn move_device(&mut self, device: u32, to: usize) {
        let from = &mut self.some[1 - to];
        let place = self.place[device as usize] as usize;
        from.swap_remove(place);
        if let Some(&moved) = from.get(place) {
            self.place[moved as usize] = place as u32;
        }
        self.place[device as usize] = self.some[to].len() as u32;
        self.some[to].push(device);
    }

    pub(super) fn answer_logins(&mut self, node: Node) {
        let clock_us = self.members[node].clock_us(self.now_us);
        let mut done = Vec::new();
        if let Some(directory) = &mut self.members[node].directory {
            directory.confirmed(clock_us, &mut done);
        }
        for login in done {
            self.logged_in(login);
        }
    }

    /// The client is told that it is logged in: from here on every push must reach it.
    pub(super) fn logged_in(&mut self, login: Login) {
        let (device, count) = (login as u32, (login >> 32) as u32);
        let Device::Waiting(node) = self.devices[device as usize] else {
            return;
        };
        let (current, since_us) = self.logins[device as usize];
        if current != count {
            return;
        }
        self.devices[device as usize] = Device::In(node);
        self.outcome.login_waits.sorted_us.push(self.now_us - since_us);
        if self.rng.f64() < self.p.greeted {
            self.file(0, Event::Greet(device / self.p.devices_a_user, node));
        }
    }
}
