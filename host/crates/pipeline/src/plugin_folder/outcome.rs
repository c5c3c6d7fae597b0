//! What may become of an entry of the watched folder: a closed set, each with its remedy.

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $remedy:literal;)*) => {
        /// What became of one entry of the watched plugin folder.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FolderOutcome {
            $($(#[$doc])* $name,)*
        }

        impl FolderOutcome {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The label of the metric, and the word in the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What to do about it; empty if there is nothing to do.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

outcomes! {
    /// Its bytes became a new version.
    NewVersion = "new_version", "";
    /// Its bytes are a version already.
    Unchanged = "unchanged", "";
    /// The host refuses it as it would refuse an upload.
    Rejected = "rejected",
        "do what the reason says, and put the component there anew: it is read again when it changes; `rulemill plugin check FILE` \
         finds most reasons without a host";
    /// The host failed, not the file: it is tried again by itself.
    Failed = "failed", "look for the host's own trouble, such as its disk or its load; the file is tried again by itself";
    /// Larger than `plugins.component-max`.
    TooLarge = "too_large", "make the component smaller, or raise plugins.component-max";
    /// It cannot be read.
    Unreadable = "unreadable",
        "let the user of the host read it; it is tried again when it changes, and once a minute";
    /// Its name is not `NAME.wasm` with the name of a plugin.
    WrongName = "wrong_name", "name it NAME.wasm, NAME being 1 to 64 of a-z, 0-9 and -";
    /// A symbolic link: never followed.
    Symlink = "symlink", "put the file itself there: links are not followed";
    /// A folder in the folder: never entered.
    SubFolder = "sub_folder", "put the file into the watched folder itself: folders in it are not entered";
    /// A pipe, a socket or a device.
    NotAFile = "not_a_file", "remove it: only plain files are read";
    /// A name that says "not finished yet": left alone until it is renamed.
    Temporary = "temporary", "";
    /// It was gone before it was read.
    Vanished = "vanished", "";
    /// It goes on changing.
    Unfinished = "unfinished",
        "write it under a temporary name and rename it when it is complete; it is read when it stays the same for a second";
    /// The folder has more entries than the host looks at.
    TooMany = "too_many", "remove what is no plugin from the folder";
}

impl FolderOutcome {
    /// Whether somebody should do something about it.
    #[must_use]
    pub fn is_problem(self) -> bool {
        !self.remedy().is_empty()
    }
}
